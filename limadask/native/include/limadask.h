/* The C interface of limadask's compiled tasks: what a function of a shared library is called with.
 *
 * A library includes this header and exports functions of the type limadask_function; Python makes
 * tasks of them by ld.native_task("libmine.so", "process", plan=...). See docs/how-to/native.md.
 */
#ifndef LIMADASK_H
#define LIMADASK_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LIMADASK_ABI 1       /* what this header describes; a library tells it by limadask_abi() */
#define LIMADASK_MESSAGE 512 /* bytes of limadask_call.message, the final zero included */

#ifdef __cplusplus
#define LIMADASK_EXTERN extern "C"
#else
#define LIMADASK_EXTERN
#endif
/* Put in front of every function that Python is to find. */
#define LIMADASK_EXPORT LIMADASK_EXTERN __attribute__((visibility("default")))

/* Type of a pixel: its kind (u: unsigned, i: signed integer, f: floating point) and its bytes. */
enum {
    LIMADASK_UINT8 = 'u' << 8 | 1,
    LIMADASK_UINT16 = 'u' << 8 | 2,
    LIMADASK_UINT32 = 'u' << 8 | 4,
    LIMADASK_UINT64 = 'u' << 8 | 8,
    LIMADASK_INT8 = 'i' << 8 | 1,
    LIMADASK_INT16 = 'i' << 8 | 2,
    LIMADASK_INT32 = 'i' << 8 | 4,
    LIMADASK_INT64 = 'i' << 8 | 8,
    LIMADASK_FLOAT16 = 'f' << 8 | 2,
    LIMADASK_FLOAT32 = 'f' << 8 | 4,
    LIMADASK_FLOAT64 = 'f' << 8 | 8
};

/* An array of four dimensions, for frames (frame, band, y, x). In version 1 it is C-contiguous. */
typedef struct limadask_array {
    void *data;
    int64_t shape[4];
    int64_t strides[4]; /* bytes from one element to the next along each dimension */
    int32_t dtype;      /* LIMADASK_UINT8, ... */
    int32_t itemsize;   /* bytes of an element */
} limadask_array;

/* Type of a parameter's values. */
enum {
    LIMADASK_NONE = 0,    /* None: no values */
    LIMADASK_INTEGER = 1, /* int64_t; of a truth value 0 or 1 */
    LIMADASK_REAL = 2,    /* double */
    LIMADASK_TEXT = 3     /* char, UTF-8, with a final zero that count does not include */
};

typedef struct limadask_parameter {
    const char *name;
    const void *values;
    int64_t count; /* 1 for a number, the length of a list */
    int32_t type;
    int32_t reserved;
} limadask_parameter;

/* One call. Everything belongs to the caller and must not be kept; only output is written to. */
typedef struct limadask_call {
    int32_t abi;
    int32_t nb_parameters;
    const limadask_parameter *parameters;
    const limadask_array *input;  /* frames (frame, band, y, x); others read the same memory */
    const limadask_array *output; /* frames, or a table of doubles (frame, *, *, variable) */
    const limadask_array *masked; /* uint8 (1, band or 1, y, x), not 0 where no frame has a value;
                                     NULL where all pixels have one */
    const int64_t *numbers;       /* of the frames, shape (frame,) */
    void *state;                  /* what <name>_init has made, NULL without it */
    char *message;                /* LIMADASK_MESSAGE bytes for what is wrong, UTF-8 */
} limadask_call;

/* Fills output from input; returns 0, or anything else when it has failed. Several threads may call
 * it at the same time, with the same state. It is called once with a blank frame beforehand. */
typedef int32_t (*limadask_function)(const limadask_call *call);
/* <name>_init, where exported: makes a state, once for each worker and node. input and output tell
 * shapes of frames and types; they hold no frame, and data is NULL. */
typedef int32_t (*limadask_init)(const limadask_call *call, void **state);
/* <name>_free, where exported: ends a state. */
typedef void (*limadask_free)(void *state);

/* Tells Python which version the library was compiled for. Weak: one is left of several. */
LIMADASK_EXPORT int32_t limadask_abi(void);
__attribute__((weak)) int32_t limadask_abi(void) { return LIMADASK_ABI; }

/* The address of an element. */
static inline void *limadask_at(const limadask_array *array, int64_t frame, int64_t band, int64_t y,
                                int64_t x) {
    return (char *)array->data + frame * array->strides[0] + band * array->strides[1] +
           y * array->strides[2] + x * array->strides[3];
}

/* A parameter by its name, NULL if there is no such one. */
static inline const limadask_parameter *limadask_find(const limadask_call *call, const char *name) {
    for (int32_t i = 0; i < call->nb_parameters; ++i)
        if (strcmp(call->parameters[i].name, name) == 0) return &call->parameters[i];
    return NULL;
}

/* A number by its name, `missing` where it is None, no number, or unknown. */
static inline double limadask_real(const limadask_call *call, const char *name, double missing) {
    const limadask_parameter *one = limadask_find(call, name);
    if (one != NULL && one->count > 0 && one->type == LIMADASK_REAL)
        return *(const double *)one->values;
    if (one != NULL && one->count > 0 && one->type == LIMADASK_INTEGER)
        return (double)*(const int64_t *)one->values;
    return missing;
}

/* The same for an integer or a truth value. */
static inline int64_t limadask_integer(const limadask_call *call, const char *name,
                                       int64_t missing) {
    const limadask_parameter *one = limadask_find(call, name);
    return one != NULL && one->count > 0 && one->type == LIMADASK_INTEGER
               ? *(const int64_t *)one->values
               : missing;
}

/* The same for a text. */
static inline const char *limadask_text(const limadask_call *call, const char *name,
                                        const char *missing) {
    const limadask_parameter *one = limadask_find(call, name);
    return one != NULL && one->type == LIMADASK_TEXT ? (const char *)one->values : missing;
}

/* Say what is wrong, as printf does: `return limadask_fail(call, "no such band: %d", band);` */
static inline int32_t limadask_fail(const limadask_call *call, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->message, LIMADASK_MESSAGE, format, arguments);
    va_end(arguments);
    return 1;
}

#endif
