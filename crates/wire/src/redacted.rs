//! `Debug` of frames that hold secrets or what a person typed: it names them and shows nothing of them.

use std::fmt;

use crate::device::{Answer, EnrolClaim, EnrolConfirm, Totp, TypedCode, enrol_claim};

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Totp(redacted)")
    }
}

impl fmt::Debug for TypedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedCode(redacted)")
    }
}

impl fmt::Debug for enrol_claim::Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(redacted)",
            Self::Code(_) => "Code(redacted)",
        })
    }
}

impl fmt::Debug for EnrolClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolClaim")
            .field("proof", &self.proof)
            .field("algorithm", &self.algorithm)
            .field("device_name", &self.device_name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EnrolConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolConfirm(redacted)")
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("challenge", &self.challenge)
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prost::bytes::Bytes;

    use crate::device::client_frame::Frame as ToServer;
    use crate::device::server_frame::Frame as ToDevice;
    use crate::device::{
        Answer, ClientFrame, EnrolClaim, EnrolConfirm, Enrolled, ServerFrame, Totp, TotpRebound,
        TypedCode, enrol_claim,
    };

    const NUMBER: &str = "739164";
    const CODE: &str = "Q7ZK3M9X";

    /// Bytes that would show as this text.
    const SECRET: &str = "sesame";

    #[test]
    fn frames_show_no_secret_and_no_number_in_debug() {
        let secret = Bytes::from_static(SECRET.as_bytes());
        let totp = Totp { secret: secret.clone(), digits: 6, ..Totp::default() };
        let typed = TypedCode { user: "alice".to_owned(), code: CODE.to_owned() };
        let number = NUMBER.to_owned();
        let claim = |proof| EnrolClaim { proof: Some(proof), ..EnrolClaim::default() };
        let up = [
            ToServer::EnrolClaim(claim(enrol_claim::Proof::Secret(secret))),
            ToServer::EnrolClaim(claim(enrol_claim::Proof::Code(typed))),
            ToServer::EnrolConfirm(EnrolConfirm { number: number.clone(), ..Default::default() }),
            ToServer::Answer(Answer { number, counter: 1, ..Answer::default() }),
        ];
        let down = [
            ToDevice::Enrolled(Enrolled { totp: Some(totp.clone()), ..Enrolled::default() }),
            ToDevice::TotpRebound(TotpRebound { totp: Some(totp) }),
        ];
        let up = up.map(|frame| format!("{:?}", ClientFrame { frame: Some(frame) }));
        let down = down.map(|frame| format!("{:?}", ServerFrame { frame: Some(frame) }));
        for shown in up.iter().chain(&down) {
            for hidden in [NUMBER, CODE, SECRET] {
                assert!(!shown.contains(hidden), "{shown}");
            }
        }
        assert!(up[0].contains("Secret(redacted)") && down[0].contains("Totp(redacted)"));
    }
}
