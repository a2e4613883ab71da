//! The host functions of guest ABI v1, safely wrapped. Those that fail do not come back.

mod env {
    #[link(wasm_import_module = "env")]
    extern "C" {
        pub fn register_len(register: u64) -> u64;
        pub fn read_register(register: u64, at: u64, length: u64) -> i32;
        pub fn input(register: u64);
        pub fn context_id(register: u64);
        pub fn executor_id(register: u64);
        pub fn storage_read(key: u64, key_length: u64, register: u64) -> i32;
        pub fn storage_write(key: u64, key_length: u64, at: u64, length: u64, register: u64)
            -> i32;
        pub fn storage_remove(key: u64, key_length: u64, register: u64) -> i32;
        pub fn emit(kind: u64, kind_length: u64, at: u64, length: u64);
        pub fn log_utf8(at: u64, length: u64);
        pub fn value_return(tag: u64, at: u64, length: u64);
        pub fn random_bytes(at: u64, length: u64);
        pub fn time_now(at: u64, length: u64);
        pub fn panic_utf8(
            at: u64,
            length: u64,
            file: u64,
            file_length: u64,
            line: i32,
            column: i32,
        ) -> !;
    }
}

const REGISTER: u64 = 0;

pub fn input() -> Vec<u8> {
    unsafe { env::input(REGISTER) };
    register()
}

pub fn context_id() -> Vec<u8> {
    unsafe { env::context_id(REGISTER) };
    register()
}

pub fn executor_id() -> Vec<u8> {
    unsafe { env::executor_id(REGISTER) };
    register()
}

pub fn storage_read(key: &[u8]) -> Option<Vec<u8>> {
    let is_there = unsafe { env::storage_read(at(key), length(key), REGISTER) };
    (is_there == 1).then(register)
}

pub fn storage_write(key: &[u8], value: &[u8]) {
    unsafe { env::storage_write(at(key), length(key), at(value), length(value), REGISTER) };
}

/// True when there was a value.
pub fn storage_remove(key: &[u8]) -> bool {
    unsafe { env::storage_remove(at(key), length(key), REGISTER) == 1 }
}

pub fn emit(kind: &[u8], data: &[u8]) {
    unsafe { env::emit(at(kind), length(kind), at(data), length(data)) };
}

pub fn log(text: &str) {
    unsafe { env::log_utf8(at(text.as_bytes()), length(text.as_bytes())) };
}

/// What a returned value is.
pub enum Tag {
    Ok = 0,
    Error = 1,
}

pub fn value_return(tag: Tag, value: &[u8]) {
    unsafe { env::value_return(tag as u64, at(value), length(value)) };
}

pub fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    unsafe { env::random_bytes(bytes.as_mut_ptr() as u64, length(&bytes)) };
    bytes
}

/// Unix time in nanoseconds.
pub fn time_now() -> u64 {
    let mut bytes = [0; 8];
    unsafe { env::time_now(bytes.as_mut_ptr() as u64, length(&bytes)) };
    u64::from_le_bytes(bytes)
}

/// A place in a source; line and column count from 1, and 0 is unknown.
pub struct Place<'a> {
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
}

/// Ends the call.
pub fn panic(message: &str, place: Place) -> ! {
    let (message, file) = (message.as_bytes(), place.file.as_bytes());
    let (line, column) = (place.line as i32, place.column as i32);
    unsafe { env::panic_utf8(at(message), length(message), at(file), length(file), line, column) }
}

fn register() -> Vec<u8> {
    let size = unsafe { env::register_len(REGISTER) };
    let mut bytes = vec![0; size as usize];
    unsafe { env::read_register(REGISTER, bytes.as_mut_ptr() as u64, size) };
    bytes
}

fn at(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
