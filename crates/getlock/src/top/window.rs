//! Which part of the list of `getlock top` is shown, and which row is selected.

use crate::screen::KeyPress;

#[derive(Default)]
pub(super) struct Window {
    first: usize,
    selected: usize,
    rows: usize,
    shown: usize,
}

impl Window {
    /// Whether the key selects another row.
    pub(super) fn select(&mut self, key: KeyPress) -> bool {
        let page = self.shown.max(1);
        let (step, is_down) = match key {
            KeyPress::Byte(b'j') | KeyPress::Down => (1, true),
            KeyPress::Byte(b'k') | KeyPress::Up => (1, false),
            KeyPress::Byte(b' ') | KeyPress::PageDown => (page, true),
            KeyPress::PageUp => (page, false),
            KeyPress::Byte(_) => return false,
        };
        let to = if is_down { self.selected + step } else { self.selected.saturating_sub(step) };
        let to = to.min(self.rows.saturating_sub(1));
        to != std::mem::replace(&mut self.selected, to)
    }

    pub(super) fn select_at(&mut self, at: usize) {
        self.selected = at;
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// The first row that is shown of so many.
    pub(super) fn begin(&mut self, rows: usize) -> usize {
        self.rows = rows;
        self.selected = self.selected.min(rows.saturating_sub(1));
        self.first = self.first.min(self.selected);
        self.first
    }

    /// Whether the selected row is shown. If not, the window is moved, and is to be filled again.
    pub(super) fn follow(&mut self) -> bool {
        let end = self.first + self.shown.max(1);
        let is_shown = self.selected < end;
        if !is_shown {
            self.first += self.selected + 1 - end;
        }
        is_shown
    }

    pub(super) fn before(&self) -> String {
        if self.first == 0 { String::new() } else { format!("{} before these", self.first) }
    }

    /// As much as there is place for, and how many more there are of all.
    pub(super) fn fill(&mut self, blocks: Vec<Vec<String>>, total: usize, place: usize) -> Vec<String> {
        let rest = total.saturating_sub(self.first);
        let is_all = blocks.len() == rest && blocks.iter().map(Vec::len).sum::<usize>() <= place;
        let free = if is_all { place } else { place.saturating_sub(1) };
        let mut lines = Vec::new();
        self.shown = 0;
        for block in blocks {
            if lines.len() < free {
                self.shown += 1;
                lines.extend(block);
            }
        }
        let behind = rest.saturating_sub(self.shown);
        if behind > 0 {
            lines.truncate(free);
            lines.push(format!("and {behind} more"));
        }
        lines
    }
}
