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
        .compile_fds(descriptors)
        .expect("prost generates proto/");
}
