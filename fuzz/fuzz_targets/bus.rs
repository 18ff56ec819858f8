//! Any bytes as messages on a D-Bus connection, as an annotation's value, and as texts of a message: what was encoded is
//! decoded to the same; what is cut is waited for; a text without end takes no stack.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills_cgroups::fuzzing::{annotation, decode, encode};
use no_frills_fuzz::within;

#[derive(Arbitrary)]
enum Input<'a> {
    Bytes(&'a [u8]),
    Texts {
        interface: String,
        member: String,
        number: u32,
        texts: (String, String),
        damage: Option<(u16, u8)>,
    },
    Annotation(String),
    /// The same words again and again.
    Long {
        text: String,
        times: u16,
    },
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else { return Corpus::Reject };
    match input {
        Input::Bytes(bytes) => check_bytes(bytes),
        Input::Texts { interface, member, number, texts, damage } => {
            let mut message = encode(&interface, &member, (number, &texts.0, &texts.1));
            if let Some((at, byte)) = damage {
                let at = usize::from(at) % message.len();
                message[at] = byte;
                check_bytes(&message);
                return Corpus::Keep;
            }
            let heard = decode(&message).expect("an own message").expect("the whole of it");
            assert_eq!(heard.length, message.len());
            assert_eq!(heard.names, [interface, member, String::new()]);
            assert_eq!(heard.arguments, Some([number.to_string(), texts.0, texts.1]));
            for length in [0, 15, message.len() / 2, message.len() - 1] {
                assert_eq!(decode(&message[..length]), Ok(None));
            }
        }
        Input::Annotation(text) => check_annotation(&text),
        Input::Long { text, times } => {
            let most = (1 << 19) / text.len().max(1);
            check_annotation(&text.repeat(usize::from(times).saturating_mul(8).min(most)));
        }
    }
    Corpus::Keep
});

fn check_bytes(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(heard)) = within((4 << 10) + 4 * rest.len(), || decode(rest)) {
        assert!(heard.length >= 16 && heard.length <= rest.len());
        rest = &rest[heard.length..];
    }
}

fn check_annotation(text: &str) {
    let value = within((4 << 10) + 256 * text.len(), || annotation(text));
    let Some((message, signature)) = value else { return };
    assert!(signature.len() == 1 || signature.len() == 2 && signature.starts_with('a'), "{signature}");
    // A message that is too long is none that the bus would take.
    assert!(message.len() > 1 << 20 || decode(&message).is_ok_and(|heard| heard.is_some()), "{text:?}");
}
