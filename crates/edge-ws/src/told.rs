//! What operators are told. The names are stable.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const CONNECTED: &str = "countersign_devices_connected";
const FRAMES: &str = "countersign_device_frames_total";
const CLOSES: &str = "countersign_device_closes_total";
const REFUSALS: &str = "countersign_device_refusals_total";

/// Ended without a close frame (RFC 6455 §7.4.1; never on the wire).
pub(crate) const ABNORMAL: u16 = 1006;
/// Ended by the device.
pub(crate) const NORMAL: u16 = 1000;

pub(crate) fn describe() {
    describe_gauge!(CONNECTED, "Devices that are logged in");
    describe_counter!(FRAMES, "Messages of the device gateway by direction: in, out");
    describe_counter!(
        CLOSES,
        "Ended device connections by close code; 1000 by the device, 1006 without a close frame"
    );
    describe_counter!(REFUSALS, "Device connections refused before the upgrade, by reason");
}

pub(crate) fn frame_in() {
    counter!(FRAMES, "direction" => "in").increment(1);
}

pub(crate) fn frame_out() {
    counter!(FRAMES, "direction" => "out").increment(1);
}

pub(crate) fn closed(code: u16) {
    counter!(CLOSES, "code" => code.to_string()).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

/// Counts a device as connected until dropped.
pub(crate) struct Present(());

impl Present {
    pub(crate) fn new() -> Self {
        gauge!(CONNECTED).increment(1.0);
        Self(())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        gauge!(CONNECTED).decrement(1.0);
    }
}
