/* Made of crates/events/memory.events by `cargo run -p memtrial-events --bin generate`. */
provider memtrial {
    /* A block was allocated; alignment is 0 where none was asked for. */
    probe alloc(size_t bytes, size_t alignment, void *block, void *caller);
    /* A block is about to be freed. */
    probe free(void *block, void *caller);
    /* A block was resized; it may have moved. A block that was NULL is an alloc, one resized to nothing a free. */
    probe realloc(void *old, size_t bytes, void *block, void *caller);
    /* An allocation returned no memory. */
    probe fail(size_t bytes, void *caller);
    /* Memory was mapped. */
    probe map(void *mapping, size_t bytes, int protection, int flags, int fd, void *caller);
    /* Memory was unmapped. */
    probe unmap(void *mapping, size_t bytes, void *caller);
    /* A mapping was resized; it may have moved. */
    probe remap(void *old, size_t old_bytes, void *mapping, size_t bytes, void *caller);
    /* A mapping failed. */
    probe map_fail(size_t bytes, int error, void *caller);
    /* The process forked; told in the parent. */
    probe fork(int child);
    /* A program is about to be executed. */
    probe exec(const char *path);
    /* A thread is about to be made. */
    probe thread(void *function, void *argument, void *caller);
    /* A library is about to be loaded; the path is NULL for the program itself. */
    probe dlopen(const char *path, int flags, void *caller);
    /* A library was given back. */
    probe dlclose(void *handle, int result, void *caller);
    /* The program marked a moment by memtrial_note(text) of memtrial.h. */
    probe mark(const char *text, void *caller);
};
