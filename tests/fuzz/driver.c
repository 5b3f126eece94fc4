/* driver: what libFuzzer does, as far as these targets need it, for a compiler without it.
 *
 *     fuzz_X [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=PATH] FILE|FOLDER...
 *
 * (-t SECONDS and -s N are short for the first two.) Runs each file once; then, for the time given,
 * mutates what it has, keeping what reaches code that nothing before it did. That needs the target's
 * code compiled with -fsanitize-coverage=trace-pc; without, it mutates blindly. An input that ends
 * the process, or that takes longer than 20 seconds, is left in a file PATH + "crash-" + seed.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { MAX_SIZE = 4096, MAX_KEPT = 4096, CELLS = 1 << 16, HANG_SECONDS = 20 };

struct input {
    uint8_t *data;
    size_t size;
};

static struct input kept[MAX_KEPT];
static size_t kept_count;
static struct input current; /* being run: what a crash leaves */
static char crash_file[4096];

static uint64_t seed;
static unsigned long runs;

/* -- coverage: one bit per place, hashed -- */

static uint8_t reached[CELLS];
static size_t reached_count;
static bool reached_more; /* by the current run */

void
__sanitizer_cov_trace_pc(void)
{
    uintptr_t place = (uintptr_t)__builtin_return_address(0);
    size_t cell = (place ^ place >> 16) % CELLS;
    if (!reached[cell]) {
        reached[cell] = 1;
        reached_count++;
        reached_more = true;
    }
}

/* -- the end of a bad run -- */

static void
save_current(void)
{
    int file = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0) {
        ssize_t written = write(file, current.data, current.size);
        (void)written;
        close(file);
    }
}

static void
save_and_die(int number)
{
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

static void
watch(void)
{
    const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    bool sanitized = __sanitizer_set_death_callback != NULL;
    if (sanitized) {
        __sanitizer_set_death_callback(save_current);
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (!sanitized || signals[i] == SIGABRT || signals[i] == SIGALRM) {
            signal(signals[i], save_and_die);
        }
    }
}

/* -- running -- */

static void
die(const char *what, const char *name)
{
    fprintf(stderr, "driver: %s %s\n", what, name);
    exit(2);
}

static uint8_t *
copy(const uint8_t *data, size_t size)
{
    uint8_t *result = malloc(size == 0 ? 1 : size);
    if (result == NULL) {
        die("no memory for", "an input");
    }
    if (size > 0) {
        memcpy(result, data, size);
    }
    return result;
}

/* Keeps the input when told to, or when it reached more. The target gets a block of exactly its size, so that a read past the end is seen. */
static void
run(const uint8_t *data, size_t size, bool keep)
{
    if (runs % 256 == 0) {
        alarm(HANG_SECONDS);
    }
    current = (struct input){.data = copy(data, size), .size = size};
    reached_more = false;
    LLVMFuzzerTestOneInput(current.data, size);
    runs++;
    if ((keep || reached_more) && kept_count < MAX_KEPT) {
        kept[kept_count++] = current;
    }
    else {
        free(current.data);
    }
    current = (struct input){.data = NULL};
}

static void
run_file(const char *name)
{
    static uint8_t data[MAX_SIZE];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        die("cannot read", name);
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    run(data, size, true);
}

/* A folder's files, in whatever order; false when it is no folder. */
static bool
run_folder(const char *name)
{
    DIR *folder = opendir(name);
    struct dirent *entry;
    if (folder == NULL) {
        return false;
    }
    while ((entry = readdir(folder)) != NULL) {
        char path[4096];
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
            run_file(path);
        }
    }
    closedir(folder);
    return true;
}

/* -- mutating -- */

static uint64_t
random_below(uint64_t limit)
{
    static uint64_t state;
    if (state == 0) {
        state = seed * 2 + 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % limit;
}

static uint8_t
interesting_byte(void)
{
    const uint8_t bytes[] = {0, 1, 15, 16, 63, 64, 127, 128, 252, 253, 254, 255};
    return random_below(2) ? bytes[random_below(sizeof(bytes))] : (uint8_t)random_below(256);
}

static size_t
insert(uint8_t *data, size_t size)
{
    size_t count = 1 + random_below(random_below(8) ? 4 : 64);
    if (size + count > MAX_SIZE) {
        return size;
    }
    size_t place = random_below(size + 1);
    memmove(data + place + count, data + place, size - place);
    for (size_t i = 0; i < count; i++) {
        data[place + i] = interesting_byte();
    }
    return size + count;
}

static size_t
cut(uint8_t *data, size_t size)
{
    size_t place = random_below(size);
    size_t most = size - place;
    size_t count = 1 + random_below(most < 8 || random_below(8) == 0 ? most : 8);
    memmove(data + place, data + place + count, size - place - count);
    return size - count;
}

/* Puts a part of another input over or behind a part of this one. */
static size_t
splice(uint8_t *data, size_t size)
{
    const struct input *other = &kept[random_below(kept_count)];
    if (other->size == 0) {
        return size;
    }
    size_t from = random_below(other->size);
    size_t count = 1 + random_below(other->size - from);
    size_t place = random_below(size + 1);
    count = place + count > MAX_SIZE ? MAX_SIZE - place : count;
    memcpy(data + place, other->data + from, count);
    return place + count > size ? place + count : size;
}

static size_t
mutate(uint8_t *data, size_t size)
{
    if (size == 0) {
        return insert(data, size);
    }
    switch (random_below(6)) {
    case 0:
        return insert(data, size);
    case 1:
        return cut(data, size);
    case 2:
        return splice(data, size);
    case 3:
        data[random_below(size)] ^= (uint8_t)(1u << random_below(8));
        return size;
    default:
        data[random_below(size)] = interesting_byte();
        return size;
    }
}

static void
run_mutant(void)
{
    static uint8_t data[MAX_SIZE];
    const struct input *parent = &kept[random_below(kept_count)];
    size_t size = parent->size;
    if (size > 0) {
        memcpy(data, parent->data, size);
    }
    for (uint64_t steps = 1 + random_below(5); steps > 0; steps--) {
        size = mutate(data, size);
    }
    run(data, size, false);
}

/* -- the command line -- */

struct options {
    uint64_t seconds;
    const char *prefix;
    char **files;
    size_t file_count;
};

/* Takes "-name=N", or "-n" "N". False: `*argument` is another thing. */
static bool
take_number(char ***argument, const char *name, const char *letter, uint64_t *value)
{
    size_t length = strlen(name);
    if (strncmp(**argument, name, length) == 0) {
        *value = strtoull(**argument + length, NULL, 10);
        return true;
    }
    if (strcmp(**argument, letter) == 0 && (*argument)[1] != NULL) {
        *value = strtoull(*++*argument, NULL, 10);
        return true;
    }
    return false;
}

static void
take_other(struct options *options, char *argument)
{
    const char *prefix = "-artifact_prefix=";
    if (strncmp(argument, prefix, strlen(prefix)) == 0) {
        options->prefix = argument + strlen(prefix);
    }
    else if (argument[0] == '-') {
        die("what is", argument);
    }
    else {
        options->files[options->file_count++] = argument;
    }
}

static void
parse(struct options *options, char **arguments)
{
    for (char **argument = arguments; *argument != NULL; argument++) {
        if (!take_number(&argument, "-max_total_time=", "-t", &options->seconds) &&
            !take_number(&argument, "-seed=", "-s", &seed)) {
            take_other(options, *argument);
        }
    }
    snprintf(crash_file, sizeof(crash_file), "%scrash-%llu", options->prefix,
             (unsigned long long)seed);
}

static void
replay(const struct options *options)
{
    run((const uint8_t *)"", 0, true);
    for (size_t i = 0; i < options->file_count; i++) {
        if (!run_folder(options->files[i])) {
            run_file(options->files[i]);
        }
    }
}

static void
fuzz(uint64_t seconds)
{
    time_t end = time(NULL) + (time_t)seconds;
    while (seconds > 0 && time(NULL) < end) {
        for (int i = 0; i < 256; i++) {
            run_mutant();
        }
    }
}

static void
forget_all(void)
{
    while (kept_count > 0) {
        free(kept[--kept_count].data);
    }
}

int
main(int argc, char **argv)
{
    struct options options = {.prefix = "./"};
    options.files = calloc((size_t)argc + 1, sizeof(*options.files));
    if (options.files == NULL) {
        die("no memory for", "the arguments");
    }
    seed = (uint64_t)time(NULL);
    parse(&options, argv + 1);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    watch();
    replay(&options);
    unsigned long given = runs;
    fuzz(options.seconds);
    printf("%lu inputs: %lu given, %lu made; %zu kept, %zu places reached\n", runs, given,
           runs - given, kept_count, reached_count);
    forget_all();
    free(options.files);
    return 0;
}
