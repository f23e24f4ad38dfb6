//! An ICE restart of a live link (RFC 8445 §9). Outside of tests nothing asks for one,
//! but the library changes the nominated pair in no other way.
//!
//! The answer cannot travel on the link itself: whoever took the offer sends nothing
//! there until a pair is nominated again.

use passalong_proto::knock::Offer;
use webrtc::peer_connection::RTCSessionDescription;

use super::{LinkError, LinkHandle, connecting, sdp};

impl LinkHandle {
    /// Begins a restart. Returns this side's half without candidates; the sockets stay
    /// what they are.
    pub(crate) async fn restart(&self) -> Result<Offer, LinkError> {
        self.connection.restart_ice().await?;
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        self.half().await
    }

    /// Takes part in the restart that `remote` begins. Returns this side's half.
    pub(crate) async fn join_restart(&self, remote: &Offer) -> Result<Offer, LinkError> {
        let description = RTCSessionDescription::offer(sdp::to_sdp(remote, "actpass"))?;
        self.connection.set_remote_description(description).await?;
        let answer = self.connection.create_answer(None).await?;
        self.connection.set_local_description(answer).await?;
        self.half().await
    }

    /// Takes the other side's half of the restart that this side began.
    pub(crate) async fn complete_restart(&self, remote: &Offer) -> Result<(), LinkError> {
        let description = RTCSessionDescription::answer(sdp::to_sdp(remote, "active"))?;
        Ok(self.connection.set_remote_description(description).await?)
    }

    async fn half(&self) -> Result<Offer, LinkError> {
        let credentials = connecting::credentials(&*self.connection).await?;
        Ok(Offer {
            ufrag: credentials.ufrag,
            password: credentials.password,
            fingerprint: credentials.fingerprint,
            candidates: Vec::new(),
        })
    }
}
