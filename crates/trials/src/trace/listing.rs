//! A catalog as a list to be printed.

use memtrial_report::trace::listing::{self, Listing, Place};
use memtrial_symbols::probes::{Argument, Operand, Probe, Site, Warning};

use super::catalog::{Catalog, Module};

/// The list of what is selected.
#[must_use]
pub fn listing(catalog: &Catalog) -> Listing {
    Listing { files: catalog.modules.iter().map(file).collect(), unread: catalog.unread.clone() }
}

fn file(module: &Module) -> listing::File {
    listing::File {
        file: module.path.to_string_lossy().into_owned(),
        has: module.names.len() as u64,
        probes: module.probes.iter().map(probe).collect(),
        damage: module.damage.clone(),
    }
}

fn probe(probe: &Probe) -> listing::Probe {
    let Probe { provider, name, sites } = probe;
    listing::Probe { provider: provider.clone(), name: name.clone(), sites: sites.iter().map(site).collect() }
}

fn site(site: &Site) -> listing::Site {
    listing::Site {
        place: Place { address: site.address, offset: site.offset },
        semaphore: site.semaphore.map(|place| Place { address: place.address, offset: place.offset }),
        arguments: site.arguments.iter().map(argument).collect(),
        warnings: site.warnings.iter().copied().map(warning).collect(),
    }
}

fn argument(argument: &Argument) -> listing::Argument {
    let letter = match (argument.float, argument.signed) {
        (true, _) => 'f',
        (false, true) => 's',
        (false, false) => 'u',
    };
    listing::Argument {
        kind: format!("{letter}{}", u32::from(argument.bytes) * 8),
        operand: argument.text.clone(),
        unfetchable: match &argument.operand {
            Operand::Unfetchable(why) => Some(why.clone()),
            _ => None,
        },
    }
}

/// A hazard of a site, as it is told.
#[must_use]
pub fn warning(warning: Warning) -> listing::Warning {
    match warning {
        Warning::Nop5 => listing::Warning::FiveByteNop,
        Warning::SharedSemaphorePage => listing::Warning::SharedSemaphorePage,
        Warning::NoBase => listing::Warning::NoBase,
    }
}
