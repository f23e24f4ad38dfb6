//! SDP and the compact offer: the text that the library wants, made from what a
//! knock carries, and the credentials in it, read back. Pure.

use passalong_proto::knock::{Candidate, CandidateKind, IceToken, Offer};

/// What a description says about who may connect.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) ufrag: IceToken,
    pub(super) password: IceToken,
    pub(super) fingerprint: [u8; 32],
}

/// The candidate attribute of RFC 8839 §5.1, without the leading `a=`.
pub(super) fn candidate_line(candidate: &Candidate, foundation: usize) -> String {
    let (kind, related) = match candidate.kind {
        CandidateKind::Host | CandidateKind::Carried => ("host", ""),
        CandidateKind::ServerReflexive => ("srflx", " raddr 0.0.0.0 rport 0"),
        CandidateKind::Relayed => ("relay", " raddr 0.0.0.0 rport 0"),
    };
    format!(
        "candidate:{foundation} 1 udp {} {} {} typ {kind}{related}",
        candidate.priority,
        candidate.address.ip(),
        candidate.address.port(),
    )
}

/// An SDP description of one data-channel section (RFC 8841) from its compact
/// form. Every part was checked when the offer was parsed, so nothing a peer
/// chose can begin a line of its own.
pub(super) fn to_sdp(offer: &Offer, setup: &str) -> String {
    let fingerprint: Vec<String> = offer
        .fingerprint
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n\
         a=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n",
        offer.ufrag.as_str(),
        offer.password.as_str(),
        fingerprint.join(":"),
    );
    for (index, candidate) in offer.candidates.iter().enumerate() {
        sdp.push_str(&format!("a={}\r\n", candidate_line(candidate, index + 1)));
    }
    sdp
}

/// The credentials in a description of our own, if it has all of them.
pub(super) fn credentials(sdp: &str) -> Option<Credentials> {
    let attribute = |name: &str| {
        sdp.lines()
            .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
    };
    let fingerprint: Option<Vec<u8>> = attribute("fingerprint:sha-256 ")?
        .trim()
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    Some(Credentials {
        ufrag: IceToken::new(attribute("ice-ufrag:")?)?,
        password: IceToken::new(attribute("ice-pwd:")?)?,
        fingerprint: fingerprint?.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            ufrag: IceToken::new("abcd").unwrap(),
            password: IceToken::new("0123456789abcdefghijkl").unwrap(),
            fingerprint: [0xa5; 32],
            candidates: vec![Candidate {
                kind: CandidateKind::ServerReflexive,
                address: "[2001:db8::1]:4242".parse().unwrap(),
                priority: 7,
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sdp = to_sdp(&offer(), "active");
        let read = credentials(&sdp).unwrap();
        assert_eq!(read.ufrag, offer().ufrag);
        assert_eq!(read.password, offer().password);
        assert_eq!(read.fingerprint, offer().fingerprint);
        let candidate = "a=candidate:1 1 udp 7 2001:db8::1 4242 typ srflx raddr 0.0.0.0 rport 0";
        assert!(sdp.lines().any(|line| line == candidate), "{sdp}");
    }

    #[test]
    fn a_description_that_lacks_a_credential_has_none() {
        let sdp = to_sdp(&offer(), "active");
        for name in ["ice-ufrag", "ice-pwd", "fingerprint"] {
            assert!(credentials(&sdp.replace(name, "other")).is_none(), "{name}");
        }
    }
}
