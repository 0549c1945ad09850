//! Compiles proto/ without protoc.

fn main() {
    // read at run time: a target directory may be shared by checkouts
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = format!("{here}/../../proto");
    let file = "countersign/device/v1/device.proto";
    println!("cargo:rerun-if-changed={root}/{file}");
    let descriptors = protox::compile([file], [root]).expect("proto/ compiles");
    prost_build::Config::new()
        .bytes(["."])
        // secrets, and what people type: `src/redacted.rs` says what is shown of them
        .skip_debug(["Answer", "EnrolClaim", "EnrolConfirm", "Totp", "TypedCode"])
        .compile_fds(descriptors)
        .expect("prost generates proto/");
}
