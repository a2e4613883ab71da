//! The engine: all of the language but what would reach out of the script or differ between runs.

use std::panic::PanicHookInfo;

use rhai::module_resolvers::DummyModuleResolver;
use rhai::{config, Engine, FLOAT, INT};

use crate::host::{self, Place};
use crate::{api, Failure};

/// Any fixed numbers: what is hashed must be the same on every machine.
const HASHING_SEED: [u64; 4] = [0x6361_6972, 0x6e2e_7268, 0x6169_2e76, 0x312e_3030];
const CALL_LEVELS_MAX: usize = 64;
/// Nesting of expressions and blocks. What is deeper with all the levels of calls that are around
/// it meets the end of the stack, which is a trap.
const EXPRESSION_DEPTH_MAX: usize = 128;
const FUNCTIONS_MAX: usize = 1_024;
const VARIABLES_MAX: usize = 1_024;

/// Operations are metered by the host, sizes of values by the memory: limits on those would make
/// the engine count all elements of an array again with each one that is added.
pub fn create() -> Engine {
    config::hashing::set_hashing_seed(Some(HASHING_SEED)).ok();
    std::panic::set_hook(Box::new(on_panic));
    let mut engine = Engine::new();
    engine
        .set_max_call_levels(CALL_LEVELS_MAX)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX)
        .set_max_functions(FUNCTIONS_MAX)
        .set_max_variables(VARIABLES_MAX)
        .set_max_modules(0)
        .set_module_resolver(DummyModuleResolver::new())
        .on_print(host::log)
        .on_debug(|text, _, place| host::log(&format!("{text} ({place})")));
    engine.register_fn("sleep", |_: INT| no_sleep()).register_fn("sleep", |_: FLOAT| no_sleep());
    api::register(&mut engine);
    engine
}

fn no_sleep() -> Result<(), Failure> {
    Err("an application cannot sleep".into())
}

fn on_panic(panic: &PanicHookInfo) {
    let message = panic.payload_as_str().unwrap_or("explicit panic");
    let place = panic.location().map_or(Place { file: "", line: 0, column: 0 }, |place| Place {
        file: place.file(),
        line: place.line(),
        column: place.column(),
    });
    host::panic(message, place);
}
