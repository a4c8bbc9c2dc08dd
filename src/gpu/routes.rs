//! The ways of the state from its buffers before a change to those after it.

use std::collections::HashMap;

use super::device_state::{ClockBuffers, DeviceState, plane_bytes};
use super::moves::Route;
use crate::abi::{CELL_BYTES, Move, QUAD};
use crate::course::{Change, Source};
use crate::param::Member;
use crate::plan::Segment;
use crate::planes::{Bank, Plane, Planes};

/// Everything that moves, by the two buffers in question.
pub(super) struct Routes<'a> {
    before: &'a DeviceState,
    members: &'a [Member],
    /// The segments of each tensor before.
    segments: Vec<Vec<Segment>>,
    routes: Vec<Route>,
    /// The number of each route, by its page and bank before and its page after.
    numbers: HashMap<(usize, Bank, usize), usize>,
}

impl<'a> Routes<'a> {
    pub fn new(before: &'a DeviceState, members: &'a [Member]) -> Self {
        let mut segments = vec![Vec::new(); members.len()];
        for segment in &before.layout.segments {
            segments[segment.tensor].push(*segment);
        }
        Self { before, members, segments, routes: Vec::new(), numbers: HashMap::new() }
    }

    /// The clocks' counts, and the gains that go on.
    pub fn add_clocks(&mut self, clocks: &ClockBuffers, change: &Change) {
        let before = &self.before.clocks;
        if *before.counts == *clocks.counts {
            return;
        }
        let quads = |clocks: &ClockBuffers| (clocks.words as u64 / QUAD) as u32;
        let (old, new) = (quads(before), quads(clocks));
        let sources = (0..).zip(&change.clocks).filter_map(|(after, before)| Some((after, (*before)?)));
        let list = sources.flat_map(|(after, Source { clock, gains, averages })| {
            let part = |quad, len| Move { before: old * clock as u32 + quad, after: new * after + quad, len };
            // The steps, the averagings, the gains.
            [part(0, 1), part(1, u32::from(averages)), part(2, gains as u32)]
        });
        let list = list.filter(|part| part.len > 0);
        self.routes.push(Route { before: before.counts.clone(), after: clocks.counts.clone(), list: list.collect() });
    }

    /// The planes of all segments that are not in the first, `kept` pages. `sources` has each parameter's number before.
    pub fn add_planes(&mut self, after: &DeviceState, kept: usize, members: &[Member], sources: &[Option<usize>]) {
        for segment in after.layout.segments.iter().filter(|segment| segment.page >= kept) {
            let Some(source) = sources[segment.tensor] else { continue };
            let (before, now) = (self.members[source].planes, members[segment.tensor].planes);
            for plane in now.iter().filter(|plane| before.has(*plane)) {
                self.add_plane(after, plane, (source, before), (segment, now));
            }
        }
    }

    /// One plane of a segment, from as many segments as it lies in before.
    fn add_plane(
        &mut self,
        after: &DeviceState,
        plane: Plane,
        (source, before): (usize, Planes),
        (segment, now): (&Segment, Planes),
    ) {
        // Both have the same precision: only loadings and other rows change it, and neither comes here.
        let kept = now.precision_of(plane);
        for number in 0..self.segments[source].len() {
            let old = self.segments[source][number];
            let start = old.start.max(segment.start);
            let end = (old.start + old.len).min(segment.start + segment.len);
            if start >= end {
                continue;
            }
            let cell = |own: &Segment, planes| {
                let first = plane_bytes(own, planes, plane).start / CELL_BYTES;
                (first + kept.cells(start - own.start)) as u32
            };
            let len = kept.cells(end - start) as u32;
            let part = Move { before: cell(&old, before), after: cell(segment, now), len };
            self.push(after, (old.page, plane.bank(), segment.page), part);
        }
    }

    fn push(&mut self, after: &DeviceState, key: (usize, Bank, usize), part: Move) {
        let (page_before, bank, page_after) = key;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            let before = self.before.pages[page_before].bank(bank).clone();
            let after = after.pages[page_after].bank(bank).clone();
            self.routes.push(Route { before, after, list: Vec::new() });
            self.routes.len() - 1
        });
        let list = &mut self.routes[number].list;
        match list.last_mut() {
            Some(last) if last.before + last.len == part.before && last.after + last.len == part.after => {
                last.len += part.len;
            }
            _ => list.push(part),
        }
    }

    /// The routes on which anything moves.
    pub fn finish(self) -> Vec<Route> {
        self.routes.into_iter().filter(|route| !route.list.is_empty()).collect()
    }
}
