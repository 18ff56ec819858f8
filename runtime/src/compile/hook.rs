//! Hooks in a container's namespaces: an init that joins them and becomes the hook.

use no_frills_plan::{Step, join};

use super::{Builder, CompileOptions, Forks, Pointer, Program, SourceKind, compile_exec, joining, process, text};
use crate::config::{Config, Hook, Moment, namespace};

/// Compiles what is done for a createContainer or startContainer hook. The first is a program of the host's, run as root of
/// the container's user namespace while the host's files are still in view; the second is one of the container's, run as its process
/// is: with its user, its rights, its limits and, if it has none of its own, its environment (as peers have it).
pub(crate) fn compile_hook(config: &Config, options: &CompileOptions<'_>, moment: Moment, hook: &Hook) -> Program {
    if moment == Moment::StartContainer {
        let mut process = config.process.clone();
        process.executable = Some(hook.path.clone());
        process.args.clone_from(&hook.args);
        if let Some(env) = &hook.env {
            process.env.clone_from(env);
            process.env_is_exact = true;
        }
        process.terminal = false;
        return compile_exec(config, &process, options);
    }
    let mut steps = Builder::new(config, options);
    let forks = join_with_host_in_view(&mut steps);
    process::become_hook_of_host(&mut steps, hook, forks);
    joining(steps, forks)
}

/// Joins the container's namespaces and goes to the bundle, which the root of a user namespace may not reach: so as who the
/// caller is, where that is who may join the others.
fn join_with_host_in_view(steps: &mut Builder<'_>) -> Forks {
    let own = steps.config.linux.own();
    let (user, others) = (own & namespace::USER, own & !namespace::USER);
    steps.push(Pointer::NAMESPACES, &Step::SetUndumpable {});
    let source = steps.source(Pointer::NAMESPACES, SourceKind::Container);
    let joined = |kinds: u64, mode| Step::JoinNamespaces { source, kinds: kinds as u32, mode };
    if others != 0 {
        steps.push(Pointer::NAMESPACES, &joined(others, if user == 0 { join::MUST } else { join::MAY }));
    }
    steps.push(Pointer::NO_SETTING, &Step::UseCurrentRoot {});
    let bundle = steps.options.bundle.to_string_lossy();
    steps.push(Pointer::NO_SETTING, &Step::ChangeDirectory { path: text(&bundle), flags: 0 });
    if user != 0 {
        steps.push(Pointer::NAMESPACES, &joined(user, join::MUST));
        if others != 0 {
            steps.push(Pointer::NAMESPACES, &joined(others, join::IF_REFUSED));
        }
        steps.push(Pointer::NAMESPACES, &Step::BecomeRoot {});
    }
    if own & namespace::PID != 0 { Forks::Last } else { Forks::No }
}
