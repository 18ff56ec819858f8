//! Any bytes as a plan, and as a message: decoded without a panic, within bounds; and what was decoded
//! is the same again after it was encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use no_frills_plan::{MESSAGE_MAX, MESSAGE_TEXT_MAX, Message, Plan, PlanBuilder};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = Plan::decode(bytes) {
        check_plan(&plan);
    }
    if let Some(message) = Message::decode(bytes) {
        let text = message.text.get(..MESSAGE_TEXT_MAX).unwrap_or(message.text);
        let mut buffer = [0; MESSAGE_MAX];
        let length = message.encode(&mut buffer);
        assert_eq!(Message::decode(&buffer[..length]), Some(Message { text, ..message }));
    }
});

fn check_plan(plan: &Plan<'_>) {
    let mut again = PlanBuilder::new();
    let mut decoded = Vec::new();
    for step in plan.steps() {
        let Ok(step) = step else { break };
        assert!(!step.name().is_empty());
        again.push(&step);
        decoded.push(step);
    }
    let copy = Plan::decode(again.bytes()).expect("an own plan");
    let steps: Vec<_> = copy.steps().map(|step| step.expect("an own step")).collect();
    assert_eq!(steps, decoded);
}
