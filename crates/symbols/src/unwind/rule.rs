//! How to step from a frame to its caller, read from .eh_frame.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Operation, ParsedEhFrameHdr,
    Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection, UnwindTableRow, X86_64,
};

/// Where the canonical frame address (CFA, the caller's stack pointer) lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cfa {
    /// At this offset from the stack pointer.
    Sp(i32),
    /// At this offset from the frame pointer register.
    Bp(i32),
    /// In the word at this offset from the frame pointer register, as in functions that realign their stack.
    AtBp(i32),
    /// Nowhere: the outermost frame, or one without a rule that can be followed.
    None,
}

/// How to step from a frame to its caller on x86-64. The return address lies just below the CFA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The canonical frame address.
    pub cfa: Cfa,
    /// Offset from the CFA (or, for [`Cfa::AtBp`], from the frame pointer register) at which the caller's frame
    /// pointer register is saved; `None` if it was not touched.
    pub bp: Option<i16>,
    /// Whether this is known to be the outermost frame, rather than one that can't be followed.
    pub outermost: bool,
}

impl Rule {
    /// A frame that can't be followed.
    pub const UNKNOWN: Rule = Rule { cfa: Cfa::None, bp: None, outermost: false };
    const OUTERMOST: Rule = Rule { cfa: Cfa::None, bp: None, outermost: true };
}

/// The unwinding tables of one loaded module.
#[derive(Debug, Clone, Copy)]
pub struct FrameInfo<'a> {
    /// .eh_frame_hdr, and the address it is loaded at.
    pub header: (&'a [u8], u64),
    /// .eh_frame, or all from its start to the end of its segment, and the address it is loaded at.
    pub frames: (&'a [u8], u64),
}

/// Room for unwinding on the stack: 17 registers and four nested `remember_state`s cover what compilers emit.
struct OnStack;

impl UnwindContextStorage<usize> for OnStack {
    type Rules = [(Register, RegisterRule<usize>); 20];
    type Stack = [UnwindTableRow<usize, Self>; 5];
}

type Slice<'a> = EndianSlice<'a, NativeEndian>;

impl<'a> FrameInfo<'a> {
    /// The address at which .eh_frame is loaded, as .eh_frame_hdr tells it.
    #[must_use]
    pub fn frames_address(header: &'a [u8], header_address: u64) -> Option<u64> {
        match Self::parse(header, header_address)?.eh_frame_ptr() {
            gimli::Pointer::Direct(address) => Some(address),
            gimli::Pointer::Indirect(_) => None,
        }
    }

    fn parse(header: &'a [u8], header_address: u64) -> Option<ParsedEhFrameHdr<Slice<'a>>> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(header_address);
        EhFrameHdr::new(header, NativeEndian).parse(&bases, 8).ok()
    }

    /// The rule for the code at `address`; [`Rule::UNKNOWN`] when the tables have none.
    #[must_use]
    pub fn rule_at(&self, address: u64) -> Rule {
        self.find(address).unwrap_or(Rule::UNKNOWN)
    }

    fn find(&self, address: u64) -> Option<Rule> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(self.header.1).set_eh_frame(self.frames.1);
        let header = Self::parse(self.header.0, self.header.1)?;
        let frames = EhFrame::new(self.frames.0, NativeEndian);
        let mut context: UnwindContext<usize, OnStack> = UnwindContext::new_in();
        let row = header
            .table()?
            .unwind_info_for_address(&frames, &bases, &mut context, address, EhFrame::cie_from_offset)
            .ok()?;
        if row.register(X86_64::RA) == Some(RegisterRule::Undefined) {
            return Some(Rule::OUTERMOST);
        }
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                let offset = i32::try_from(*offset).ok()?;
                match *register {
                    X86_64::RSP => Cfa::Sp(offset),
                    X86_64::RBP => Cfa::Bp(offset),
                    _ => return None,
                }
            }
            CfaRule::Expression(expression) => {
                let expression = expression.get(&frames).ok()?;
                Cfa::AtBp(word_at_bp(&expression)?)
            }
        };
        let bp = match row.register(X86_64::RBP) {
            Some(RegisterRule::Offset(offset)) => Some(i16::try_from(offset).ok()?),
            Some(RegisterRule::Expression(expression)) => {
                // A realigned frame saves it at a fixed place from the frame pointer itself.
                let expression = expression.get(&frames).ok()?;
                match (cfa, register_offset(&expression)?) {
                    (Cfa::AtBp(_), (X86_64::RBP, offset)) => Some(i16::try_from(offset).ok()?),
                    _ => return None,
                }
            }
            None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => None,
            _ => return None,
        };
        Some(Rule { cfa, bp, outermost: false })
    }
}

/// The offset of "the word at an offset from the frame pointer register", if that is what `expression` says.
fn word_at_bp(expression: &gimli::Expression<Slice<'_>>) -> Option<i32> {
    let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let mut operations = expression.operations(encoding);
    let offset = match operations.next().ok()?? {
        Operation::RegisterOffset { register: X86_64::RBP, offset, .. } => i32::try_from(offset).ok()?,
        _ => return None,
    };
    match operations.next().ok()?? {
        Operation::Deref { size: 8, .. } => {}
        _ => return None,
    }
    operations.next().ok()?.is_none().then_some(offset)
}

/// Register and offset, if that sum is all that `expression` says.
fn register_offset(expression: &gimli::Expression<Slice<'_>>) -> Option<(Register, i64)> {
    let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let mut operations = expression.operations(encoding);
    let found = match operations.next().ok()?? {
        Operation::RegisterOffset { register, offset, .. } => (register, offset),
        _ => return None,
    };
    operations.next().ok()?.is_none().then_some(found)
}
