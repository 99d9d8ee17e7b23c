//! Sets of subscription identifiers, as queued messages carry them.
//!
//! A delivery names the identifiers of all subscriptions that it matched [MQTT5-3.3.4-4]. Nearly
//! always that is none or one, which fits into the four octets of an [`IdSet`]; the rare larger
//! sets stand here.

/// None, one, or the place of a set in [`IdSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdSet(u32);

const IS_PLACE: u32 = 1 << 31;

impl IdSet {
    pub(crate) const NONE: Self = Self(0);

    /// The set of one identifier; zero makes it empty.
    pub(crate) const fn one(identifier: u32) -> Self {
        assert!(identifier < IS_PLACE, "identifiers have 28 bits");
        Self(identifier)
    }
}

/// The sets of two and more identifiers. Each belongs to the one queued message that refers to it.
#[derive(Debug, Default)]
pub(crate) struct IdSets {
    sets: Vec<Vec<u32>>,
    free: Vec<u32>,
    /// Where a set of one is lent from.
    single: [u32; 1],
}

impl IdSets {
    /// `set` with one more identifier; the old handle is worn out.
    pub(crate) fn with(&mut self, set: IdSet, identifier: u32) -> IdSet {
        if identifier == 0 || set.0 == identifier {
            return set;
        }
        if set == IdSet::NONE {
            return IdSet::one(identifier);
        }
        if set.0 & IS_PLACE == 0 {
            return self.store(vec![set.0, identifier]);
        }
        let identifiers = &mut self.sets[(set.0 & !IS_PLACE) as usize];
        if !identifiers.contains(&identifier) {
            identifiers.push(identifier);
        }
        set
    }

    /// The set of these identifiers.
    pub(crate) fn of(&mut self, identifiers: &[u32]) -> IdSet {
        identifiers.iter().fold(IdSet::NONE, |set, identifier| self.with(set, *identifier))
    }

    /// The identifiers of a set.
    pub(crate) fn get(&mut self, set: IdSet) -> &[u32] {
        if set == IdSet::NONE {
            return &[];
        }
        if set.0 & IS_PLACE == 0 {
            self.single = [set.0];
            return &self.single;
        }
        &self.sets[(set.0 & !IS_PLACE) as usize]
    }

    /// The identifiers of a set, for tests.
    #[cfg(test)]
    pub(crate) fn copy(&self, set: IdSet) -> Vec<u32> {
        match (set, set.0 & IS_PLACE) {
            (IdSet::NONE, _) => Vec::new(),
            (_, 0) => vec![set.0],
            _ => self.sets[(set.0 & !IS_PLACE) as usize].clone(),
        }
    }

    /// Gives the place of a set back.
    pub(crate) fn release(&mut self, set: IdSet) {
        if set.0 & IS_PLACE != 0 {
            let index = set.0 & !IS_PLACE;
            self.sets[index as usize] = Vec::new();
            self.free.push(index);
        }
    }

    fn store(&mut self, identifiers: Vec<u32>) -> IdSet {
        let index = if let Some(index) = self.free.pop() {
            self.sets[index as usize] = identifiers;
            index
        } else {
            let index = u32::try_from(self.sets.len()).expect("fewer sets than messages");
            self.sets.push(identifiers);
            index
        };
        IdSet(index | IS_PLACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_none_and_one_take_no_place() {
        let mut sets = IdSets::default();
        let none = sets.with(IdSet::NONE, 0);
        let one = sets.with(none, 268_435_455);
        assert!(sets.get(none).is_empty());
        assert_eq!(sets.get(one), [268_435_455]);
        assert_eq!(sets.with(one, 268_435_455), one);
        assert!(sets.sets.is_empty());
    }

    #[test]
    fn the_places_of_larger_sets_are_used_again() {
        let mut sets = IdSets::default();
        let three = [7, 8, 9].iter().fold(IdSet::NONE, |set, id| sets.with(set, *id));
        assert_eq!(sets.get(three), [7, 8, 9]);
        sets.release(three);
        let other = [1, 2].iter().fold(IdSet::NONE, |set, id| sets.with(set, *id));
        assert_eq!(sets.get(other), [1, 2]);
        assert_eq!(sets.sets.len(), 1);
    }
}
