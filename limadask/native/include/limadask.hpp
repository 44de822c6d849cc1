// The interface of limadask.h for C++17: typed views, and exceptions as messages.
#ifndef LIMADASK_HPP
#define LIMADASK_HPP

#include "limadask.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace limadask {

template <class T> constexpr int32_t dtype_of() {
    constexpr int32_t kind = std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
    return kind << 8 | static_cast<int32_t>(sizeof(T));
}

// A view of an array (frame, band, y, x) whose elements are T.
template <class T> class Pixels {
public:
    explicit Pixels(const limadask_array &array) : array_(&array) {
        if (array.dtype != dtype_of<std::remove_const_t<T>>())
            throw std::invalid_argument("pixels of another type than expected");
    }
    int64_t frames() const { return array_->shape[0]; }
    int64_t bands() const { return array_->shape[1]; }
    int64_t rows() const { return array_->shape[2]; }
    int64_t columns() const { return array_->shape[3]; }
    T *row(int64_t frame, int64_t band, int64_t y) const {
        return static_cast<T *>(limadask_at(array_, frame, band, y, 0));
    }
    T &operator()(int64_t frame, int64_t band, int64_t y, int64_t x) const {
        return row(frame, band, y)[x];
    }

private:
    const limadask_array *array_;
};

// Calls f with a view of an array, whatever its type is.
template <class F> void visit(const limadask_array &array, F f) {
    switch (array.dtype) {
    case LIMADASK_UINT8: return f(Pixels<const uint8_t>(array));
    case LIMADASK_UINT16: return f(Pixels<const uint16_t>(array));
    case LIMADASK_UINT32: return f(Pixels<const uint32_t>(array));
    case LIMADASK_UINT64: return f(Pixels<const uint64_t>(array));
    case LIMADASK_INT8: return f(Pixels<const int8_t>(array));
    case LIMADASK_INT16: return f(Pixels<const int16_t>(array));
    case LIMADASK_INT32: return f(Pixels<const int32_t>(array));
    case LIMADASK_INT64: return f(Pixels<const int64_t>(array));
    case LIMADASK_FLOAT32: return f(Pixels<const float>(array));
    case LIMADASK_FLOAT64: return f(Pixels<const double>(array));
    default: throw std::invalid_argument("pixels of an unknown type");
    }
}

// One call, with what it was given.
class Call {
public:
    explicit Call(const limadask_call *call) : call_(call) {}
    const limadask_array &input() const { return *call_->input; }
    template <class T> Pixels<T> output() const { return Pixels<T>(*call_->output); }
    // What a reduction fills: rows of variables, (frame, *, *, variable).
    Pixels<double> table() const { return output<double>(); }
    int64_t number(int64_t frame) const { return call_->numbers[frame]; }
    bool is_masked(int64_t band, int64_t y, int64_t x) const {
        const limadask_array *masked = call_->masked;
        if (masked == nullptr) return false;
        return *static_cast<uint8_t *>(limadask_at(masked, 0, band % masked->shape[1], y, x)) != 0;
    }
    double real(const char *name) const {
        const limadask_parameter &one = parameter(name);
        if (one.count < 1 || (one.type != LIMADASK_REAL && one.type != LIMADASK_INTEGER))
            throw std::invalid_argument(std::string(name) + " is no number");
        return limadask_real(call_, name, 0.0);
    }
    int64_t integer(const char *name) const {
        const limadask_parameter &one = parameter(name);
        if (one.count < 1 || one.type != LIMADASK_INTEGER)
            throw std::invalid_argument(std::string(name) + " is no integer");
        return limadask_integer(call_, name, 0);
    }
    const limadask_parameter &parameter(const char *name) const {
        const limadask_parameter *one = limadask_find(call_, name);
        if (one == nullptr) throw std::invalid_argument(std::string("no parameter ") + name);
        return *one;
    }
    template <class T> T &state() const { return *static_cast<T *>(call_->state); }

private:
    const limadask_call *call_;
};

// Runs a body; what it throws becomes the message. No exception may leave a C function.
inline int32_t guarded(void (*body)(const Call &), const limadask_call *call) {
    try {
        body(Call(call));
        return 0;
    } catch (const std::exception &error) {
        return limadask_fail(call, "%s", error.what());
    } catch (...) {
        return limadask_fail(call, "an exception that is no std::exception");
    }
}

} // namespace limadask

// LIMADASK_TASK(name) { ... } defines and exports a function; its body has a Call named call.
#define LIMADASK_TASK(name)                                                                        \
    static void name##_body(const limadask::Call &call);                                           \
    LIMADASK_EXPORT int32_t name(const limadask_call *call) {                                      \
        return limadask::guarded(name##_body, call);                                               \
    }                                                                                              \
    static void name##_body(const limadask::Call &call)

#endif
