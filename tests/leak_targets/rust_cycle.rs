// Two counted objects that hold each other; the twin's second one holds the first weakly.
// site: tie 2 x 112
// unreachable: yes
mod daemon;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

#[allow(dead_code)]
enum Link {
    None,
    Strong(Rc<Node>),
    Weak(Weak<Node>),
}

#[allow(dead_code)]
struct Node {
    link: RefCell<Link>,
    rest: [u64; 9],
}

#[inline(never)]
fn tie(round: u32) {
    let node = || Rc::new(Node { link: RefCell::new(Link::None), rest: [u64::from(round); 9] });
    let (one, two) = (node(), node());
    *one.link.borrow_mut() = Link::Strong(Rc::clone(&two));
    *two.link.borrow_mut() =
        if cfg!(good) { Link::Weak(Rc::downgrade(&one)) } else { Link::Strong(Rc::clone(&one)) };
}

fn main() {
    daemon::serve(tie);
}
