//! Methods are the public functions of a script; arguments are passed by the names of parameters.

use rhai::{Array, Dynamic, FnAccess, Map, AST};

use crate::{host, json};

/// A function with only this parameter gets all arguments as they came.
const WHOLE: [&str; 1] = ["args"];
const ANONYMOUS: &str = "anon$";

struct Method<'a> {
    name: &'a str,
    parameters: Vec<&'a str>,
}

/// Names of all methods, in order and each once.
pub fn names(script: &AST) -> Array {
    let mut names: Vec<&str> = methods(script).map(|method| method.name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Into::into).collect()
}

/// The arguments of this call, in the order of the method's parameters; no text at all is `{}`.
pub fn arguments(script: &AST, name: &str) -> Result<Vec<Dynamic>, String> {
    let all = match host::input().as_slice() {
        b"" => Map::new().into(),
        bytes => {
            json::read(bytes).map_err(|error| format!("the arguments are not JSON: {error}"))?
        }
    };
    let mut overloads: Vec<_> = methods(script).filter(|method| method.name == name).collect();
    overloads.sort_unstable_by_key(|method| method.parameters.len());
    if let [Method { parameters, .. }] = overloads.as_slice() {
        if parameters == &WHOLE {
            return Ok(vec![all]);
        }
    }
    let mut given = match all.is_unit() {
        true => Map::new(),
        false => all.try_cast::<Map>().ok_or("the arguments are not a JSON object")?,
    };
    // Of several functions with this name the one counts that takes what is given.
    let fitting = overloads.iter().find(|method| mismatch(method, &given).is_none());
    let method = fitting.or(overloads.last()).ok_or(format!("method \"{name}\" not found"))?;
    match mismatch(method, &given) {
        Some(error) => Err(error),
        None => Ok(method.parameters.iter().filter_map(|name| given.remove(*name)).collect()),
    }
}

fn mismatch(method: &Method, given: &Map) -> Option<String> {
    let Method { name, parameters } = method;
    let missing = parameters.iter().find(|parameter| !given.contains_key(**parameter));
    let unknown = given.keys().find(|argument| !parameters.contains(&argument.as_str()));
    match (missing, unknown) {
        (Some(missing), _) => Some(format!("method \"{name}\" needs the argument \"{missing}\"")),
        (_, Some(unknown)) => Some(format!("method \"{name}\" has no argument \"{unknown}\"")),
        (None, None) => None,
    }
}

fn methods(script: &AST) -> impl Iterator<Item = Method<'_>> {
    script
        .iter_functions()
        .filter(|function| function.access == FnAccess::Public && function.this_type.is_none())
        .filter(|function| !function.name.starts_with(ANONYMOUS))
        .map(|function| Method { name: function.name, parameters: function.params })
}
