//! What a kernel is: a name, WGSL text, an interface, constants, a grid, and a reference on the host. No device.
//!
//! In: sizes and [`Slot`]s. Out: everything an executor needs to run the kernel, and everything a test needs to judge it.
//! Never: a device, a buffer of a device, or a preprocessor; a shader is its parts, joined.

use std::fmt::Debug;

/// A tensor of a recording, by number. The recording knows its name and size, an executor its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// How a shader uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
}

/// One storage buffer of a kernel. Binding 0 is the uniform `params`; the first of these is binding 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The variable's name in WGSL.
    pub name: &'static str,
    /// Its access in WGSL.
    pub access: Access,
}

/// A storage buffer that the kernel reads.
#[must_use]
pub const fn read(name: &'static str) -> Binding {
    Binding { name, access: Access::Read }
}

/// A storage buffer that the kernel writes, and may read.
#[must_use]
pub const fn write(name: &'static str) -> Binding {
    Binding { name, access: Access::Write }
}

/// A field of the uniform `params`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, in WGSL and in Rust.
    pub name: &'static str,
    /// Its offset in bytes.
    pub offset: usize,
}

/// What WGSL and host agree on; `tests/interface.rs` compares both with naga.
#[derive(Debug)]
pub struct Interface {
    /// The kernel's name: its folder, its file and its line in reports.
    pub name: &'static str,
    /// WGSL texts to join, the kernel's own first so that diagnostics keep its line numbers.
    pub parts: &'static [&'static str],
    /// Storage buffers of every variant in order, from binding 1.
    pub bindings: &'static [Binding],
    /// Fields of `params` (binding 0), all of four bytes.
    pub params: &'static [Field],
}

/// Declares a kernel's `Params`, with the `FIELDS` of its [`Interface`] and the `bytes` of the uniform. WGSL says what each is.
macro_rules! params {
    ($($field:ident: $type:ty),* $(,)?) => {
        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        struct Params { $($field: $type),* }

        impl Params {
            const FIELDS: &[$crate::kernel::Field] =
                &[$($crate::kernel::Field { name: stringify!($field), offset: std::mem::offset_of!(Params, $field) }),*];

            fn bytes(&self) -> Vec<u8> {
                bytemuck::bytes_of(self).to_vec()
            }
        }
    };
}
pub(crate) use params;

/// How much of a recording one step uses. A recording is made for capacities; a step fills part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Tokens in this step, over all sequences.
    pub tokens: u32,
    /// Rows of logits wanted.
    pub rows: u32,
    /// Visible positions of the token that sees most: its position + 1.
    pub length: u32,
}

/// Text and constants that distinguish pipelines of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    /// WGSL joined after the interface's parts: an encoding. Directives do not occur.
    pub snippets: Vec<&'static str>,
    /// Values of `override` constants.
    pub constants: Vec<(&'static str, u32)>,
    /// Storage buffers behind the interface's, which a snippet declares.
    pub bindings: Vec<Binding>,
}

/// One dispatch: what is computed, over which slots, with which sizes.
pub trait Kernel: Debug + Send + Sync {
    /// The agreement with the WGSL text.
    fn interface(&self) -> &'static Interface;

    /// Encoding and tunables; equal variants share a pipeline.
    fn variant(&self) -> Variant {
        Variant::default()
    }

    /// Slots in the order of [`bindings`].
    fn slots(&self) -> Vec<Slot>;

    /// The bytes of `params`.
    fn params(&self) -> Vec<u8>;

    /// The grid for a step. A zero in it means that there is nothing to do.
    fn workgroups(&self, extent: &Extent) -> [u32; 3];

    /// The same result by the plain formula, accumulated in f64. `reads` and `writes` are the words of the slots bound
    /// `read` and `read_write`, each in the order of the interface.
    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]);
}

/// The storage buffers of a kernel in one variant, in order, from binding 1.
pub fn bindings<'a>(interface: &'a Interface, variant: &'a Variant) -> impl Iterator<Item = Binding> + 'a {
    interface.bindings.iter().chain(&variant.bindings).copied()
}

/// The whole WGSL text of a kernel in one variant.
#[must_use]
pub fn source(interface: &Interface, variant: &Variant) -> String {
    let mut text = String::new();
    for part in interface.parts.iter().chain(&variant.snippets) {
        text.push_str(part);
        text.push('\n');
    }
    text
}

/// Words as floats.
#[must_use]
pub fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

/// Words as floats to write.
pub(crate) fn floats_mut(words: &mut [u32]) -> &mut [f32] {
    bytemuck::cast_slice_mut(words)
}
