//! How a format marks the calls of an answer: what the parser looks for.

/// The markers of a format. Newlines before an opener belong to it.
pub(super) struct Markup {
    /// All that text of an answer can run into: the end of a thought, and what opens calls.
    pub(super) content: &'static [&'static str],
    /// Opens a call; its name follows.
    pub(super) call: &'static str,
    /// Ends the name.
    pub(super) name_end: &'static str,
    /// Ends a call.
    pub(super) call_end: &'static str,
    /// Ends all calls.
    pub(super) block_end: &'static str,
    /// How arguments stand in tags of their own; none: they are JSON.
    pub(super) tags: Option<Tags>,
}

/// Tags with attributes, an argument in each.
pub(super) struct Tags {
    /// Opens a parameter.
    pub(super) parameter: &'static str,
    /// Before the name, in the tags of calls and parameters.
    pub(super) name: &'static str,
    /// Between the name of a parameter and the word `true` where it is text; else it is JSON.
    pub(super) is_text: &'static str,
    /// Ends an opening tag and its last attribute.
    pub(super) tag_end: &'static str,
    /// Ends a parameter.
    pub(super) parameter_end: &'static str,
}
