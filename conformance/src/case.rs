//! What a case is: a name, a line of documentation, a function, and marks.

use crate::bundle::Test;
use crate::engines::Engine;
use crate::expect::Verdict;
use crate::features::Feature;
use crate::kind::Kind;

/// One case of the suite.
pub(crate) struct Case {
    /// `group/what-holds`.
    pub(crate) name: &'static str,
    /// What the case shows, in a line.
    pub(crate) doc: &'static str,
    /// The case itself.
    pub(crate) run: fn(&Test) -> Verdict,
    marks: Vec<Mark>,
    needs: &'static [&'static str],
    controllers: &'static [&'static str],
    features: &'static [Feature],
    /// The engines that it calls.
    pub(crate) engines: Vec<Engine>,
}

/// What is known about a case with one runtime.
struct Mark {
    kind: Kind,
    what: What,
    why: &'static str,
}

#[derive(PartialEq)]
enum What {
    Differs,
    KnownFailure,
    Skip,
    Only,
}

/// For [`Case::needs`]: the runtime is run by an ordinary user, who may not install the filter that feigns an old kernel.
pub(crate) const UNFILTERED: &str = "to be run without a filter";

/// Declares a case.
pub(crate) fn case(name: &'static str, doc: &'static str, run: fn(&Test) -> Verdict) -> Case {
    Case { name, doc, run, marks: Vec::new(), needs: &[], controllers: &[], features: &[], engines: Vec::new() }
}

impl Case {
    /// This runtime behaves otherwise on purpose, for this reason; the case holds both expectations.
    pub(crate) fn differs(self, kind: Kind, why: &'static str) -> Self {
        self.mark(kind, What::Differs, why)
    }

    /// The case fails with this runtime. When it passes, the run fails, so that the mark goes away.
    pub(crate) fn known_failure(self, kind: Kind, why: &'static str) -> Self {
        self.mark(kind, What::KnownFailure, why)
    }

    /// The case makes no sense with this runtime.
    pub(crate) fn skip(self, kind: Kind, why: &'static str) -> Self {
        self.mark(kind, What::Skip, why)
    }

    /// The case makes sense with this runtime alone.
    pub(crate) fn only(self, kind: Kind, why: &'static str) -> Self {
        self.mark(kind, What::Only, why)
    }

    /// The case cannot pass on a kernel without these system calls.
    pub(crate) fn needs(mut self, calls: &'static [&'static str]) -> Self {
        self.needs = calls;
        self
    }

    /// The case needs these controllers in cgroup v2.
    pub(crate) fn needs_controllers(mut self, controllers: &'static [&'static str]) -> Self {
        self.controllers = controllers;
        self
    }

    /// The case needs what not every machine has.
    pub(crate) fn needs_features(mut self, features: &'static [Feature]) -> Self {
        self.features = features;
        self
    }

    /// The case calls this engine, which runs the runtime under test.
    pub(crate) fn needs_engine(mut self, engine: Engine) -> Self {
        self.engines.push(engine);
        self
    }

    /// Why the case is not run, if it needs an engine that is not here, or if engines are not to be started.
    pub(crate) fn lacks_engine(&self, started: bool) -> Option<String> {
        let engine = self.engines.first()?;
        match started {
            true => self.engines.iter().find_map(|engine| engine.missing()),
            false => Some(format!("needs {engine}: only with --engines")),
        }
    }

    /// Whether the case is one that many a machine has to skip, but not the guest (conformance/guest).
    pub(crate) fn needs_guest(&self) -> bool {
        !self.controllers.is_empty() || !self.features.is_empty()
    }

    /// Why the case is not run on this machine, if it lacks a feature.
    pub(crate) fn lacks_feature(&self) -> Option<String> {
        self.features.iter().find_map(|feature| feature.missing())
    }

    /// The controller for lack of which the case is not run, if `there`, what the machine has, lacks one.
    pub(crate) fn lacks_controller(&self, there: &str) -> Option<String> {
        let missing =
            self.controllers.iter().find(|name| !there.split_ascii_whitespace().any(|other| other == **name))?;
        Some(format!("needs the controller {missing:?} in cgroup v2; this machine has {:?} there", there.trim()))
    }

    /// The call for lack of which the case is not run, if there is one among these, which are separated by commas.
    pub(crate) fn lacks(&self, without: &str) -> Option<String> {
        let is_lacking = |call: &str| match call {
            UNFILTERED => !without.is_empty(),
            call => without.split(',').any(|lacking| lacking == call),
        };
        let missing = self.needs.iter().find(|call| is_lacking(call))?;
        Some(format!("needs {missing}"))
    }

    /// Why the case is not run with this runtime, if it is not.
    pub(crate) fn skipped_for(&self, kind: Kind) -> Option<String> {
        if let Some(why) = self.find(kind, &What::Skip) {
            return Some(why.to_owned());
        }
        let only = self.marks.iter().find(|mark| mark.what == What::Only)?;
        (only.kind != kind).then(|| format!("for {} alone: {}", only.kind, only.why))
    }

    /// Why the case is expected to fail with this runtime, if it is.
    pub(crate) fn known_failure_for(&self, kind: Kind) -> Option<&'static str> {
        self.find(kind, &What::KnownFailure)
    }

    /// How this runtime differs on purpose, if it does.
    pub(crate) fn differs_for(&self, kind: Kind) -> Option<&'static str> {
        self.find(kind, &What::Differs)
    }

    /// The marks in words, a line each.
    pub(crate) fn marks(&self) -> impl Iterator<Item = String> + '_ {
        let needs = self.needs.iter().map(|call| format!("needs {call}"));
        let controllers = self.controllers.iter().map(|name| format!("needs the controller {name:?}"));
        let features = self.features.iter().map(|feature| format!("needs {feature}"));
        let engines = self.engines.iter().map(|engine| format!("needs {engine}"));
        needs.chain(controllers).chain(features).chain(engines).chain(self.marks.iter().map(|mark| {
            let Mark { kind, why, .. } = mark;
            match mark.what {
                What::Differs => format!("{kind} differs: {why}"),
                What::KnownFailure => format!("known failure of {kind}: {why}"),
                What::Skip => format!("not for {kind}: {why}"),
                What::Only => format!("for {kind} alone: {why}"),
            }
        }))
    }

    fn mark(mut self, kind: Kind, what: What, why: &'static str) -> Self {
        self.marks.push(Mark { kind, what, why });
        self
    }

    fn find(&self, kind: Kind, what: &What) -> Option<&'static str> {
        self.marks.iter().find(|mark| mark.kind == kind && mark.what == *what).map(|mark| mark.why)
    }
}
