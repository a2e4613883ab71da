//! What a script can do beyond the language itself.

use std::fmt::Display;

use rhai::{
    Blob, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Module,
    NativeCallContext, Position, INT,
};

use crate::{host, json, Failure};

const RANDOM_BYTES_MAX: INT = 1_048_576;

pub fn register(engine: &mut Engine) {
    let mut storage = Module::new();
    FuncRegistration::new("get").set_into_module(&mut storage, get);
    FuncRegistration::new("get_json").set_into_module(&mut storage, get_json);
    FuncRegistration::new("get_text").set_into_module(&mut storage, get_text);
    FuncRegistration::new("set").set_into_module(&mut storage, set_blob);
    FuncRegistration::new("set").set_into_module(&mut storage, set_text);
    FuncRegistration::new("set_json").set_into_module(&mut storage, set_json);
    FuncRegistration::new("remove").set_into_module(&mut storage, remove);
    engine.register_static_module("storage", storage.into());

    engine.register_fn("context_id", context_id);
    engine.register_fn("emit", emit);
    engine.register_fn("executor_id", executor_id);
    engine.register_fn("fail", |value: Dynamic| Err::<(), _>(failure(value)));
    engine.register_fn("log", |text: &str| host::log(text));
    engine.register_fn("parse_json", parse_json);
    engine.register_fn("random_bytes", random_bytes);
    engine.register_fn("time_ns", || host::time_now() as INT);
    engine.register_fn("to_json", to_json);
}

/// Base58, as ids are everywhere in Cairn.
pub fn context_id() -> String {
    bs58::encode(host::context_id()).into_string()
}

/// Base58.
pub fn executor_id() -> String {
    bs58::encode(host::executor_id()).into_string()
}

/// Ends the method with a value as its error, which no `catch` of the script gets.
pub fn failure(value: impl Into<Dynamic>) -> Failure {
    EvalAltResult::ErrorTerminated(value.into(), Position::NONE).into()
}

fn get(key: &str) -> Dynamic {
    host::storage_read(key.as_bytes()).map_or(Dynamic::UNIT, Dynamic::from_blob)
}

fn get_json(context: NativeCallContext, key: &str) -> Result<Dynamic, Failure> {
    read(key, "JSON", json::read).map_err(|reason| failed(&context, reason))
}

fn get_text(context: NativeCallContext, key: &str) -> Result<Dynamic, Failure> {
    let text = |value: &[u8]| std::str::from_utf8(value).map(Into::into);
    read(key, "text", text).map_err(|reason| failed(&context, reason))
}

/// `()` where there is no value.
fn read<E: Display>(
    key: &str,
    form: &str,
    parse: impl FnOnce(&[u8]) -> Result<Dynamic, E>,
) -> Result<Dynamic, String> {
    let Some(value) = host::storage_read(key.as_bytes()) else {
        return Ok(Dynamic::UNIT);
    };
    parse(&value).map_err(|error| format!("the value of \"{key}\" is not {form}: {error}"))
}

fn set_blob(key: &str, value: Blob) {
    host::storage_write(key.as_bytes(), &value);
}

fn set_text(key: &str, value: ImmutableString) {
    host::storage_write(key.as_bytes(), value.as_bytes());
}

fn set_json(context: NativeCallContext, key: &str, value: Dynamic) -> Result<(), Failure> {
    let json = json::write(&value).map_err(|error| failed(&context, error))?;
    host::storage_write(key.as_bytes(), &json);
    Ok(())
}

fn remove(key: &str) -> bool {
    host::storage_remove(key.as_bytes())
}

/// A blob goes as it is, anything else as JSON.
fn emit(kind: &str, data: Dynamic) -> Result<(), Failure> {
    match data.as_blob_ref() {
        Ok(bytes) => host::emit(kind.as_bytes(), &bytes),
        Err(_) => host::emit(kind.as_bytes(), &json::write(&data)?),
    }
    Ok(())
}

fn random_bytes(count: INT) -> Result<Blob, Failure> {
    match count {
        0..=RANDOM_BYTES_MAX => Ok(host::random_bytes(count as usize)),
        _ => Err(format!("random_bytes gives 0 to {RANDOM_BYTES_MAX} bytes, not {count}").into()),
    }
}

fn parse_json(text: &str) -> Result<Dynamic, Failure> {
    Ok(json::read(text.as_bytes())?)
}

fn to_json(value: Dynamic) -> Result<String, Failure> {
    Ok(json::text(json::write(&value)?))
}

/// The engine gives errors their place, but for functions of a module.
fn failed(context: &NativeCallContext, reason: String) -> Failure {
    EvalAltResult::ErrorRuntime(reason.into(), context.call_position()).into()
}
