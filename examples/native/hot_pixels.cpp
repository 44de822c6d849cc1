// Two tasks in C++: hot pixels replaced by the median around them, and counted.
//
//     c++ -std=c++17 -O3 -shared -fPIC $(limadask native --includes) hot_pixels.cpp -o libhot_pixels.so

#include <algorithm>
#include <array>
#include <limits>

#include "limadask.hpp"

namespace {

// Returns the lower median of a pixel's neighbours, at most eight, those without a value left out.
template <class T>
double around(const limadask::Call &call, const limadask::Pixels<T> &pixels, int64_t frame,
              int64_t band, int64_t y, int64_t x) {
    std::array<double, 8> found;
    int count = 0;
    for (int64_t j = std::max<int64_t>(y - 1, 0); j <= std::min(y + 1, pixels.rows() - 1); ++j)
        for (int64_t i = std::max<int64_t>(x - 1, 0); i <= std::min(x + 1, pixels.columns() - 1); ++i)
            if ((j != y || i != x) && !call.is_masked(band, j, i))
                found[count++] = static_cast<double>(pixels(frame, band, j, i));
    if (count == 0) return static_cast<double>(pixels(frame, band, y, x));
    auto middle = found.begin() + (count - 1) / 2;
    std::nth_element(found.begin(), middle, found.begin() + count);
    return *middle;
}

// Calls f(frame, band, y, x, value, median) for every pixel that has a value.
template <class T, class F>
void each(const limadask::Call &call, const limadask::Pixels<T> &pixels, F f) {
    for (int64_t frame = 0; frame < pixels.frames(); ++frame)
        for (int64_t band = 0; band < pixels.bands(); ++band)
            for (int64_t y = 0; y < pixels.rows(); ++y)
                for (int64_t x = 0; x < pixels.columns(); ++x)
                    if (!call.is_masked(band, y, x))
                        f(frame, band, y, x, pixels(frame, band, y, x),
                          around(call, pixels, frame, band, y, x));
}

} // namespace

// A pixel that exceeds `factor` times the median of its neighbours, plus `offset`, becomes this median.
LIMADASK_TASK(remove_hot_pixels) {
    const double factor = call.real("factor"), offset = call.real("offset");
    limadask::visit(call.input(), [&](auto input) {
        using Value = std::remove_const_t<std::remove_reference_t<decltype(*input.row(0, 0, 0))>>;
        auto output = call.output<Value>();
        each(call, input, [&](auto frame, auto band, auto y, auto x, auto value, double median) {
            const bool is_hot = static_cast<double>(value) > factor * median + offset;
            output(frame, band, y, x) = is_hot ? static_cast<Value>(median) : value;
        });
    });
}

// How many such pixels there are, and the largest value of the others: columns of a table.
LIMADASK_TASK(count_hot_pixels) {
    const double factor = call.real("factor"), offset = call.real("offset");
    auto table = call.table(); // (frame, band, 1, variable)
    for (int64_t frame = 0; frame < table.frames(); ++frame)
        for (int64_t band = 0; band < table.bands(); ++band) {
            table(frame, band, 0, 0) = 0;
            table(frame, band, 0, 1) = -std::numeric_limits<double>::infinity();
        }
    limadask::visit(call.input(), [&](auto input) {
        each(call, input, [&](auto frame, auto band, auto, auto, auto value, double median) {
            const double pixel = static_cast<double>(value);
            if (pixel > factor * median + offset)
                table(frame, band, 0, 0) += 1;
            else
                table(frame, band, 0, 1) = std::max(table(frame, band, 0, 1), pixel);
        });
    });
}
