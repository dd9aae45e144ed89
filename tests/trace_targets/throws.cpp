// Throws and catches: each number of its input as often as it says, half of them once more on the way.
#include <cstdio>

static void thrower(int number) {
    try {
        throw number;
    } catch (int &caught) {
        if (caught % 2) throw;
    }
}

int main() {
    int times;
    while (std::scanf("%d", &times) == 1) {
        int caught = 0;
        for (int number = 0; number < times; number++) {
            try {
                thrower(number);
            } catch (int &) {
                caught++;
            }
        }
        std::printf("throw %d rethrow %d catch %d\n.\n", times, caught, times + caught);
        std::fflush(stdout);
    }
}
