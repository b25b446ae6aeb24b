//! How a format marks the calls of an answer: what the parser looks for.

/// The markers of a format. Newlines before an opener belong to it.
pub(super) struct Markup {
    /// All that text of an answer can run into: the end of a thought, and what opens calls.
    pub(super) content: &'static [&'static str],
    /// Opens a call; its name follows.
    pub(super) call: &'static str,
    /// What ends the name, whichever comes first. Of these, a parameter and the end of the call are not part of the name's tag.
    pub(super) name_end: &'static [&'static str],
    /// The function, and the call's id where the model gives one, in what stands between the opener and the name's end.
    pub(super) name: fn(&str) -> Named<'_>,
    /// Ends a call.
    pub(super) call_end: &'static str,
    /// Ends all calls; none where calls stand in the text one by one.
    pub(super) block_end: Option<&'static str>,
    /// How arguments stand in tags of their own; none: they are JSON.
    pub(super) tags: Option<Tags>,
}

/// A function and the id of a call.
pub(super) type Named<'t> = (&'t str, Option<&'t str>);

/// Tags, an argument in each.
pub(super) struct Tags {
    /// Opens a parameter.
    pub(super) parameter: &'static str,
    /// The name of a parameter in what stands between its opener and the end of the tag, and whether it is text; none: its
    /// schema tells.
    pub(super) name: fn(&str) -> (&str, Option<bool>),
    /// Ends an opening tag.
    pub(super) tag_end: &'static str,
    /// Ends a parameter.
    pub(super) parameter_end: &'static str,
}
