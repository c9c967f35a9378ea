/* Starts a microcontroller without any operating system. Then, where RUN_TESTS is defined, `main` is called; else the
 * series of a file of the machine that imitates it are classified, and what came out is written to another file. WITH_SCALING
 * says that the program scales series itself.
 *
 * series.bin: the number of series, then of each its length and its values, channel by channel; all of 4 bytes.
 * answers.bin: of each series its logits and the SysTick ticks that it took (8 bytes); last the bytes of stack used. */
#include <stdint.h>

#include "model.h"

extern uint32_t flash_data[], ram_data[], ram_data_end[], ram_bss[], ram_bss_end[], stack_top[];

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define PAINT 0xA5C3A5C3u

enum { OPEN = 0x01, WRITE = 0x05, READ = 0x06, EXIT = 0x20 }; /* of Arm's semihosting */
enum { MODE_READ = 1, MODE_WRITE = 5 };                       /* "rb" and "wb" */

static volatile uint32_t wraps;

static int32_t ask_host(uint32_t what, const void *with)
{
    register uint32_t operation __asm__("r0") = what;
    register const void *block __asm__("r1") = with;
    __asm__ volatile("bkpt 0xAB" : "+r"(operation) : "r"(block) : "memory");
    return (int32_t)operation;
}

static void leave(uint32_t code)
{
    const uint32_t block[] = {0x20026, code}; /* the application ended by itself */
    ask_host(EXIT, block);
    for (;;) {
    }
}

#ifdef RUN_TESTS

extern void initialise_monitor_handles(void); /* of the C library: prints through semihosting */
extern int main(void);

static void work(void)
{
    initialise_monitor_handles();
    if (main() != 0)
        leave(6);
}

#else

static float workspace[MODEL_WORKSPACE_BYTES / sizeof(float)];
static float logits[MODEL_CLASSES];

#ifdef WITH_SCALING
static float series[MODEL_CHANNELS * MODEL_LENGTH];
#else
static float *const series = workspace + MODEL_WORKSPACE_BYTES / sizeof(float) - MODEL_CHANNELS * MODEL_LENGTH;
#endif

static int32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t block[] = {(uint32_t)name, mode, length};
    const int32_t handle = ask_host(OPEN, block);
    if (handle < 0)
        leave(3);
    return handle;
}

static void transfer(uint32_t what, int32_t handle, const void *values, uint32_t bytes)
{
    const uint32_t block[] = {(uint32_t)handle, (uint32_t)values, bytes};
    if (ask_host(what, block) != 0) /* bytes that were not transferred */
        leave(4);
}

static uint64_t read_ticks(void)
{
    uint32_t before, value;
    do {
        before = wraps;
        value = REGISTER(0xE000E018);
    } while (before != wraps);
    return ((uint64_t)before << 24) + (0xFFFFFFu - value);
}

static uint32_t count_stack(void)
{
    const uint32_t *deepest = ram_bss_end;
    while (deepest < stack_top && *deepest == PAINT)
        deepest++;
    return (uint32_t)((const char *)stack_top - (const char *)deepest);
}

static int classify(int32_t length)
{
#ifdef WITH_SCALING
    return model_classify(series, length, logits, workspace);
#else
    model_logits(series, length, logits, workspace);
    return 0;
#endif
}

static void work(void)
{
    const int32_t input = open_file("series.bin", 10, MODE_READ);
    const int32_t output = open_file("answers.bin", 11, MODE_WRITE);
    int32_t count, length;
    transfer(READ, input, &count, sizeof count);
    for (; count > 0; count--) {
        transfer(READ, input, &length, sizeof length);
        if (length < 1 || length > MODEL_LENGTH)
            leave(5);
        transfer(READ, input, series, (uint32_t)length * MODEL_CHANNELS * sizeof *series);
        const uint64_t start = read_ticks();
        if (classify(length) != 0)
            leave(7);
        const uint64_t ticks = read_ticks() - start;
        transfer(WRITE, output, logits, sizeof logits);
        transfer(WRITE, output, &ticks, sizeof ticks);
    }
    const uint32_t stack = count_stack();
    transfer(WRITE, output, &stack, sizeof stack);
}

#endif

static void fail(void)
{
    leave(2);
}

static void count_wrap(void)
{
    wraps++;
}

__attribute__((noinline)) static void start(void)
{
    REGISTER(0xE000E014) = 0xFFFFFF; /* SysTick counts down from here */
    REGISTER(0xE000E018) = 0;
    REGISTER(0xE000E010) = 7; /* with the processor's clock and an interrupt at zero */
    work();
    leave(0);
}

/* Before it there are neither values nor a floating-point unit; it ends in `start`, which may have both. */
__attribute__((target("general-regs-only"))) void reset(void)
{
    REGISTER(0xE000ED88) |= 0xF << 20;
    __asm__ volatile("dsb\n\tisb");
    for (uint32_t *from = flash_data, *to = ram_data; to < ram_data_end;)
        *to++ = *from++;
    for (volatile uint32_t *at = ram_bss; at < ram_bss_end;)
        *at++ = 0;
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *at = ram_bss_end; at < here;)
        *at++ = PAINT;
    start();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fail, fail, fail, fail, fail, fail, 0, 0, 0, fail, fail, 0, fail, count_wrap,
};
