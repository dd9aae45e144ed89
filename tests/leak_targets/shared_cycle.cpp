// Two objects that hold each other by shared pointers; the twin holds one of them weakly.
// site: tie 2 x ?
// unreachable: yes
#include "daemon.h"
#include <memory>

struct Node {
    std::shared_ptr<Node> other;
    std::weak_ptr<Node> weak;
    char rest[100] = {};
};

NOINLINE static void tie(unsigned round)
{
    auto one = std::make_shared<Node>();
    auto two = std::make_shared<Node>();
    one->other = two;
    if (GOOD)
        two->weak = one;
    else
        two->other = one;
}

int main()
{
    serve(tie);
}
