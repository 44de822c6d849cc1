// A library whose functions show what they were called with, and fail in all ways but one.

#include <atomic>
#include <cstring>

#include "limadask.hpp"

namespace {
std::atomic<int64_t> alive{0}; // states that were made and not freed
}

// Each pixel becomes its frame's number.
LIMADASK_TASK(numbered) {
    auto output = call.output<int64_t>();
    for (int64_t frame = 0; frame < output.frames(); ++frame)
        for (int64_t band = 0; band < output.bands(); ++band)
            for (int64_t y = 0; y < output.rows(); ++y)
                for (int64_t x = 0; x < output.columns(); ++x)
                    output(frame, band, y, x) = call.number(frame);
}

// Doubles that were given, and how many; what C cannot have is refused before.
LIMADASK_EXPORT int32_t told(const limadask_call *call) {
    for (int64_t frame = 0; frame < call->output->shape[0]; ++frame) {
        double *row = static_cast<double *>(limadask_at(call->output, frame, 0, 0, 0));
        const limadask_parameter *weights = limadask_find(call, "weights");
        row[0] = 0;
        for (int64_t i = 0; i < weights->count; ++i)
            row[0] += static_cast<const double *>(weights->values)[i];
        row[1] = static_cast<double>(limadask_integer(call, "is_on", -1));
        row[2] = limadask_real(call, "missing", -7.5);
        row[3] = static_cast<double>(std::strlen(limadask_text(call, "name", "")));
        row[4] = static_cast<double>(limadask_integer(call, "unknown", 42));
    }
    return 0;
}

// Fails when a frame begins with 1, 2, 3 or 4, each time in another way.
LIMADASK_EXPORT int32_t fails(const limadask_call *call) {
    const int64_t first = *static_cast<const uint16_t *>(call->input->data);
    if (first == 1) return limadask_fail(call, "frame %d is bad", static_cast<int>(call->numbers[0]));
    if (first == 2) return 77;
    if (first == 3) return limadask::guarded([](const limadask::Call &) { throw 3; }, call);
    if (first == 4)
        return limadask::guarded([](const limadask::Call &one) { one.real("nothing"); }, call);
    return 0;
}

LIMADASK_EXPORT int32_t never(const limadask_call *call) {
    return limadask_fail(call, "not for %d columns", static_cast<int>(call->input->shape[3]));
}

// Counts its states.
LIMADASK_EXPORT int32_t counted_init(const limadask_call *call, void **state) {
    if (limadask_integer(call, "start", 0) < 0) return limadask_fail(call, "start is negative");
    if (call->input->data != nullptr || call->input->shape[0] != 0) return 1;
    *state = new int64_t(limadask_integer(call, "start", 0));
    ++alive;
    return 0;
}

LIMADASK_TASK(counted) {
    auto table = call.table();
    for (int64_t frame = 0; frame < table.frames(); ++frame) {
        table(frame, 0, 0, 0) = static_cast<double>(call.state<int64_t>());
        table(frame, 0, 0, 1) = static_cast<double>(alive);
    }
}

LIMADASK_EXPORT void counted_free(void *state) {
    delete static_cast<int64_t *>(state);
    --alive;
}

LIMADASK_EXPORT int64_t nb_alive(void) { return alive; }
