//! Runs Rhai scripts as a guest of Cairn (guest ABI v1). The host writes texts into memory that
//! `alloc` gives, loads an application's script once, takes a snapshot of the instance, and calls
//! one method of each copy of it.

mod api;
mod engine;
mod host;
mod json;
mod memory;
mod methods;

use std::cell::OnceCell;

use host::{Place, Tag};
use rhai::{CallFnOptions, Dynamic, Engine, EvalAltResult, Map, Position, Scope, AST};

/// An error of the engine is a large value, hence the box.
type Failure = Box<EvalAltResult>;

/// How errors name the script: an application is one file.
const FILE: &str = "script.rhai";

thread_local! {
    static ENGINE: Engine = engine::create();
    static SCRIPT: OnceCell<AST> = const { OnceCell::new() };
}

/// Makes the engine. Called before anything else is put into memory, so that all scripts have the
/// engine at the same place: their images share it.
#[no_mangle]
extern "C" fn start() {
    ENGINE.with(|_| ());
}

/// Memory for `length` bytes, which whoever takes the text frees.
#[no_mangle]
extern "C" fn alloc(length: usize) -> *mut u8 {
    let bytes = vec![0_u8; length].into_boxed_slice();
    Box::into_raw(bytes).cast()
}

/// Parses the application's script and keeps it. Gives the place of a JSON text, its address in
/// the upper half: `{"methods": ["name"]}`, or `{"error": "text", "line": 1, "column": 1}`.
///
/// # Safety
/// `text` and `length` are of one `alloc`.
#[no_mangle]
unsafe extern "C" fn load(text: *mut u8, length: usize) -> u64 {
    let source = take(text, length);
    let report = match ENGINE.with(|engine| engine.compile(source)) {
        Ok(script) => {
            let names = methods::names(&script);
            SCRIPT.with(|kept| kept.set(script)).expect("one script is loaded");
            Map::from([("methods".into(), names.into())])
        }
        Err(error) => {
            let place = error.position();
            let number = |n: Option<usize>| Dynamic::from(n.unwrap_or(0) as i64);
            Map::from([
                ("error".into(), error.err_type().to_string().into()),
                ("line".into(), number(place.line())),
                ("column".into(), number(place.position())),
            ])
        }
    };
    memory::reserve();
    let report = json::write(&report.into()).expect("a report is JSON").leak();
    (report.as_ptr() as u64) << 32 | report.len() as u64
}

/// Runs a method of the loaded script with the arguments of the call.
///
/// # Safety
/// `name` and `length` are of one `alloc`.
#[no_mangle]
unsafe extern "C" fn call(name: *mut u8, length: usize) {
    let name = take(name, length);
    finish(|engine| {
        SCRIPT.with(|script| {
            let script = script.get().expect("a script was loaded");
            let arguments = methods::arguments(script, &name).map_err(api::failure)?;
            let options = CallFnOptions::new();
            engine.call_fn_with_options(options, &mut Scope::new(), script, &name, arguments)
        })
    });
}

/// Runs a script once, apart from the loaded one; its last expression is what it returns.
///
/// # Safety
/// `text` and `length` are of one `alloc`.
#[no_mangle]
unsafe extern "C" fn eval(text: *mut u8, length: usize) {
    let source = take(text, length);
    finish(|engine| {
        let mut scope = Scope::new();
        scope.push_constant("CALLER_ID", api::executor_id());
        scope.push_constant("CONTEXT_ID", api::context_id());
        engine.eval_with_scope::<Dynamic>(&mut scope, &source)
    });
}

/// Returns the value as JSON, `()` as nothing.
fn finish(run: impl FnOnce(&Engine) -> Result<Dynamic, Failure>) {
    let output = ENGINE.with(run).and_then(|value| match value.is_unit() {
        true => Ok(None),
        false => Ok(Some(json::write(&value)?)),
    });
    match output {
        Ok(Some(bytes)) => host::value_return(Tag::Ok, &bytes),
        Ok(None) => {}
        Err(failure) => end(*failure),
    }
}

/// Says what `fail` was given, or the innermost error with the place where it came up.
fn end(failure: EvalAltResult) {
    match failure {
        EvalAltResult::ErrorInFunctionCall(_, _, mut inner, place)
        | EvalAltResult::ErrorInModule(_, mut inner, place) => {
            if inner.position().is_none() {
                inner.set_position(place);
            }
            end(*inner);
        }
        EvalAltResult::ErrorTerminated(value, place) => match json::write(&value) {
            Ok(bytes) => host::value_return(Tag::Error, &bytes),
            Err(reason) => panic(&reason, place),
        },
        mut inner => {
            let place = inner.take_position();
            panic(&message(&inner), place);
        }
    }
}

/// Ends the call with a message and a place in the script.
fn panic(message: &str, place: Position) -> ! {
    let number = |n: Option<usize>| n.unwrap_or(0) as u32;
    let (line, column) = (number(place.line()), number(place.position()));
    host::panic(message, Place { file: FILE, line, column })
}

/// What a script threw: a text as it is, anything else as JSON where it has that form.
fn message(failure: &EvalAltResult) -> String {
    match failure {
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        EvalAltResult::ErrorRuntime(value, _) if !value.is_unit() => {
            json::write(value).map_or_else(|_| value.to_string(), json::text)
        }
        other => other.to_string(),
    }
}

unsafe fn take(text: *mut u8, length: usize) -> String {
    let bytes = Box::from_raw(std::ptr::slice_from_raw_parts_mut(text, length));
    String::from_utf8_lossy(&bytes).into_owned()
}
