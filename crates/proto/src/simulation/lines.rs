//! Everybody's line up and down, shared fairly among the flows of file bytes.
//!
//! A flow is one direction of a link while pieces are queued on it. Rates are
//! max-min fair, filled up in [`ROUNDS`] rounds: nobody is given more than the
//! line has, and little of a line stays idle that a flow could use.

use std::collections::VecDeque;

use super::STEP;

/// Rounds of filling up.
const ROUNDS: usize = 4;

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Pieces asked for, with the bytes that are sent.
    pub(super) queue: VecDeque<(u32, u32)>,
    /// It is among the flows that share the lines.
    active: bool,
}

/// A flow that shares the lines.
#[derive(Clone, Copy, Debug)]
struct Active {
    flow: u32,
    from: u32,
    to: u32,
    rate: f32,
}

/// Bytes of a piece that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// On which flow.
    pub(super) flow: u32,
    pub(super) piece: u32,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

/// All lines and flows.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) flows: Vec<Flow>,
    active: Vec<Active>,
    up: f32,
    down: f32,
    piece_bytes: u32,
    /// Of each peer, up and down: what is left to give away, and among how many.
    left: Vec<[f32; 2]>,
    sharing: Vec<[f32; 2]>,
    /// What was left before the present round.
    before: Vec<[f32; 2]>,
    /// Bytes that each peer sent.
    pub(super) sent: Vec<u64>,
}

impl Lines {
    /// Lines of so many bytes a second for so many peers.
    pub(super) fn new(peers: usize, up: f64, down: f64, piece_bytes: u32) -> Lines {
        Lines {
            flows: Vec::new(),
            active: Vec::new(),
            up: up as f32,
            down: down as f32,
            piece_bytes,
            left: vec![[0.0; 2]; peers],
            sharing: vec![[0.0; 2]; peers],
            before: Vec::new(),
            sent: vec![0; peers],
        }
    }

    /// One more direction of a link; they are numbered from 0.
    pub(super) fn add(&mut self, from: u32, to: u32) {
        self.flows.push(Flow {
            from,
            to,
            queue: VecDeque::new(),
            active: false,
        });
    }

    /// Queues pieces on a flow.
    pub(super) fn ask(&mut self, flow: u32, pieces: &[u32]) {
        let state = &mut self.flows[flow as usize];
        state.queue.extend(pieces.iter().map(|piece| (*piece, 0)));
        if !state.active && !state.queue.is_empty() {
            state.active = true;
            self.active.push(Active {
                flow,
                from: state.from,
                to: state.to,
                rate: 0.0,
            });
        }
    }

    /// Takes those pieces off the queue that `which` says and that were not begun.
    pub(super) fn drop_pieces(&mut self, flow: u32, which: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut dropped = Vec::new();
        self.flows[flow as usize].queue.retain(|(piece, sent)| {
            let goes = *sent == 0 && which(*piece);
            if goes {
                dropped.push(*piece);
            }
            !goes
        });
        dropped
    }

    /// Nothing more flows there.
    pub(super) fn drop_all(&mut self, flow: u32) {
        self.flows[flow as usize].queue.clear();
    }

    /// A step passes; adds what arrived, in halves of pieces.
    pub(super) fn step(&mut self, arrived: &mut Vec<Arrived>) {
        self.active.retain(|active| {
            let flow = &mut self.flows[active.flow as usize];
            flow.active = !flow.queue.is_empty();
            flow.active
        });
        self.share();
        let half = (self.piece_bytes / 2).max(1);
        for active in &self.active {
            let flow = &mut self.flows[active.flow as usize];
            let mut budget = (active.rate * STEP.as_secs_f32()) as u32;
            self.sent[flow.from as usize] += u64::from(budget);
            while let Some((piece, sent)) = flow.queue.front_mut() {
                let before = *sent;
                *sent = (before + budget).min(self.piece_bytes);
                budget -= *sent - before;
                let whole = *sent == self.piece_bytes;
                // Said in halves, to save on events: so far, what was said.
                let floor = |bytes: u32| match bytes == self.piece_bytes {
                    true => bytes,
                    false => bytes - bytes % half,
                };
                let (offset, to) = (floor(before), floor(*sent));
                if to > offset {
                    arrived.push(Arrived {
                        flow: active.flow,
                        piece: *piece,
                        offset,
                        bytes: to - offset,
                    });
                }
                if !whole {
                    break;
                }
                flow.queue.pop_front();
                if budget == 0 {
                    break;
                }
            }
            self.sent[flow.from as usize] -= u64::from(budget);
        }
    }

    /// Gives every active flow its rate.
    fn share(&mut self) {
        self.left.fill([self.up, self.down]);
        self.sharing.fill([0.0; 2]);
        for flow in &mut self.active {
            flow.rate = 0.0;
            self.sharing[flow.from as usize][0] += 1.0;
            self.sharing[flow.to as usize][1] += 1.0;
        }
        // A line with less left than this is full.
        let full = |left: f32, line: f32| left < line / 256.0;
        for round in 1..=ROUNDS {
            self.before.clone_from(&self.left);
            for flow in &mut self.active {
                let (from, to) = (flow.from as usize, flow.to as usize);
                let (up, down) = (self.before[from][0], self.before[to][1]);
                if full(up, self.up) || full(down, self.down) {
                    continue;
                }
                let more = (up / self.sharing[from][0]).min(down / self.sharing[to][1]);
                flow.rate += more;
                self.left[from][0] -= more;
                self.left[to][1] -= more;
            }
            if round == ROUNDS {
                return;
            }
            self.sharing.fill([0.0; 2]);
            for flow in &self.active {
                let (from, to) = (flow.from as usize, flow.to as usize);
                if !full(self.left[from][0], self.up) && !full(self.left[to][1], self.down) {
                    self.sharing[from][0] += 1.0;
                    self.sharing[to][1] += 1.0;
                }
            }
        }
    }
}
