//! Topic names that clients registered, each stored once however many clients use it.

use broker_core::hash::{self, HashMap};
use broker_core::topic::{TopicBuf, TopicName};

/// An interned topic name. Whoever keeps one has counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameId(u32);

/// The names.
#[derive(Debug)]
pub(super) struct Names {
    by_name: HashMap<TopicBuf, NameId>,
    /// Name and how often it is kept.
    names: Vec<Option<(TopicBuf, u32)>>,
    free: Vec<NameId>,
    bytes: usize,
}

impl Names {
    pub(super) fn new(seed: u64) -> Self {
        Self { by_name: hash::map(seed), names: Vec::new(), free: Vec::new(), bytes: 0 }
    }

    /// The number of a name that somebody keeps.
    pub(super) fn find(&self, name: TopicName<'_>) -> Option<NameId> {
        self.by_name.get(name.as_str()).copied()
    }

    pub(super) fn get(&self, id: NameId) -> TopicName<'_> {
        let (name, _) = self.names[id.0 as usize].as_ref().expect("a name that is kept");
        name.as_name()
    }

    /// The number of a name, counted once more.
    pub(super) fn keep(&mut self, name: TopicName<'_>) -> NameId {
        if let Some(id) = self.find(name) {
            let entry = self.names[id.0 as usize].as_mut().expect("found by its name");
            entry.1 += 1;
            return id;
        }
        let entry = Some((TopicBuf::from(name), 1));
        let id = if let Some(id) = self.free.pop() {
            self.names[id.0 as usize] = entry;
            id
        } else {
            let id = NameId(u32::try_from(self.names.len()).expect("fewer names than octets"));
            self.names.push(entry);
            id
        };
        self.by_name.insert(TopicBuf::from(name), id);
        self.bytes += name.as_str().len();
        id
    }

    /// Counts a name once less; the last one forgets it.
    pub(super) fn release(&mut self, id: NameId) {
        let place = &mut self.names[id.0 as usize];
        let (name, users) = place.as_mut().expect("a name that is kept");
        *users -= 1;
        if *users == 0 {
            self.bytes -= name.as_name().as_str().len();
            self.by_name.remove(name);
            *place = None;
            self.free.push(id);
        }
    }

    /// How often names are kept, all together.
    pub(super) fn kept(&self) -> usize {
        self.names.iter().flatten().map(|(_, users)| *users as usize).sum()
    }

    /// An estimate of the memory held, in octets.
    pub(super) fn memory(&self) -> usize {
        2 * self.bytes + self.names.capacity() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_forgotten_with_its_last_user() {
        let mut names = Names::new(1);
        let topic = TopicName::new("a/b").expect("a good name");
        let id = names.keep(topic);
        assert_eq!(names.keep(topic), id);
        names.release(id);
        assert_eq!(names.get(id), topic);
        names.release(id);
        assert_eq!((names.find(topic), names.bytes), (None, 0));
        let other = names.keep(TopicName::new("c").expect("a good name"));
        assert_eq!(other, id, "the place is used again");
    }

    /// Each text twice, and its place.
    #[test]
    fn names_tell_what_memory_they_hold() {
        let mut names = Names::new(1);
        assert_eq!(names.memory(), 0);
        for n in 0..100 {
            let text = format!("{n:0100}");
            names.keep(TopicName::new(&text).expect("a good name"));
        }
        let held = 100 * (2 * 100 + 64);
        assert!((held..=2 * held).contains(&names.memory()), "{}", names.memory());
    }
}
