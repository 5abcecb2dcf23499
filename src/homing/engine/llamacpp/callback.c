// Reads and changes the residual stream while llama.cpp evaluates a graph. Needs no header of llama.cpp or Python:
// the functions it calls are passed in, and it never takes the interpreter's lock.
//
// One call a decode step, layer and ubatch: the tensor l_out-<layer> holds one row a token. What is read, summed and
// done to a row stands in the tables of `state`, written by Python between decodes.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FLOOR = 0, CEILING = 1, ADD = 2, ABLATE = 3 };
enum { WANT_READ = 1, WANT_SUM = 2, WANT_ACT = 4 };

typedef struct {
  int32_t kind;
  int32_t vector;  // row of `vectors`
  float threshold;
  float strength;
  int32_t gate;   // flag of this row that must be set, or -1
  int32_t spans;  // bit i: tokens of span i are touched
  int32_t fired;  // column of `fired`
} op_t;

typedef struct {
  int32_t vector;
  float threshold;
  int32_t below;
  int32_t flag;
} gate_t;

typedef struct {
  const char *(*get_name)(const void *);
  void (*tensor_get)(const void *, void *, size_t, size_t);
  void (*tensor_set)(void *, const void *, size_t, size_t);
  int64_t (*elements)(const void *);

  int32_t hidden, layers, max_rows, rows, outputs, directions, slots, flags, columns, failed;

  const uint8_t *want;        // [layers]
  int32_t *cursor;            // [layers], rows of this decode seen so far
  const int32_t *slot;        // [max_rows], of a row; -1: nothing is done to it
  const int32_t *span;        // [max_rows], code of its span
  const int32_t *sum;         // [max_rows], which sum it adds to; -1: none
  const uint8_t *reads;       // [max_rows], whether it is read
  const int32_t *output_row;  // [max_rows], row of the i-th output
  const float *read_vectors;  // [layers][directions][hidden]
  float *projections;         // [layers][max_rows][directions]
  double *sums;               // [sums][layers][hidden]
  const float *vectors;       // [vectors][hidden], of ops and gates
  const op_t *ops;
  const int32_t *op_at;       // [layers][slots + 1], where the ops of a slot begin
  const gate_t *gates;
  const int32_t *gate_at;     // [layers][slots + 1]
  uint8_t *open;              // [max_rows][flags]
  float *fired;               // [max_rows][columns]
  float *buffer;              // [max_rows][hidden]
} state;

enum { LANES = 16 };

// Sixteen running sums, then these in order: fast, and the same to the bit wherever it is done in this order. The build
// must not fuse products with sums.
static float dot(const float *a, const float *b, int32_t n) {
  float lanes[LANES] = {0};
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int32_t k = 0; k < LANES; k++) lanes[k] += a[i + k] * b[i + k];
  for (int32_t k = 0; i + k < n; k++) lanes[k] += a[i + k] * b[i + k];
  float sum = lanes[0];
  for (int32_t k = 1; k < LANES; k++) sum += lanes[k];
  return sum;
}

static int32_t layer_of(const char *name) {
  if (name[0] != 'l' || strncmp(name, "l_out-", 6) != 0) return -1;
  int32_t n = 0;
  const char *p = name + 6;
  if (*p < '0' || *p > '9') return -1;
  for (; *p >= '0' && *p <= '9'; p++) {
    if (n > 100000) return -1;
    n = n * 10 + (*p - '0');
  }
  return *p == '\0' ? n : -1;
}

// By how much the projection of a row moves.
static float moved(const op_t *op, float p) {
  switch (op->kind) {
    case FLOOR: {
      float gap = op->threshold - p;
      return gap > 0.0f ? gap * op->strength : 0.0f;
    }
    case CEILING: {
      float gap = op->threshold - p;
      return gap < 0.0f ? gap * op->strength : 0.0f;
    }
    case ADD: return op->strength;
    default: return -op->strength * p;
  }
}

static int act(state *s, int32_t layer, int32_t row, float *h) {
  const int32_t slot = s->slot[row];
  if (slot < 0 || slot >= s->slots) return 0;
  const int32_t at = layer * (s->slots + 1) + slot;
  for (int32_t k = s->gate_at[at]; k < s->gate_at[at + 1]; k++) {
    const gate_t *g = s->gates + k;
    const float p = dot(h, s->vectors + (size_t)g->vector * s->hidden, s->hidden);
    s->open[(size_t)row * s->flags + g->flag] = g->below ? p < g->threshold : p > g->threshold;
  }
  int changed = 0;
  for (int32_t k = s->op_at[at]; k < s->op_at[at + 1]; k++) {
    const op_t *op = s->ops + k;
    if (!(op->spans >> s->span[row] & 1)) continue;
    if (op->gate >= 0 && !s->open[(size_t)row * s->flags + op->gate]) continue;
    const float *v = s->vectors + (size_t)op->vector * s->hidden;
    const float by = moved(op, dot(h, v, s->hidden));
    s->fired[(size_t)row * s->columns + op->fired] = by;
    if (by == 0.0f) continue;
    for (int32_t i = 0; i < s->hidden; i++) h[i] += by * v[i];
    changed = 1;
  }
  return changed;
}

__attribute__((visibility("default"))) _Bool homing_callback(void *tensor, _Bool ask, void *user) {
  state *s = user;
  const int32_t layer = layer_of(s->get_name(tensor));
  // When asked: whether this tensor is wanted. Afterwards true always: false would end the evaluation without a word.
  if (layer < 0 || layer >= s->layers || !s->want[layer]) return !ask;
  if (ask) return 1;
  const int32_t n = (int32_t)(s->elements(tensor) / s->hidden), first = s->cursor[layer];
  const int partial = layer == s->layers - 1 && s->outputs != s->rows;
  if (n < 0 || n > s->max_rows - first || (!partial && first + n > s->rows) || (partial && first + n > s->outputs)) {
    s->failed = layer + 1;
    return 1;
  }
  s->cursor[layer] = first + n;
  s->tensor_get(tensor, s->buffer, 0, (size_t)n * s->hidden * sizeof(float));
  int32_t low = -1, high = -1;
  for (int32_t r = 0; r < n; r++) {
    float *h = s->buffer + (size_t)r * s->hidden;
    const int32_t row = partial ? s->output_row[first + r] : first + r;
    if (s->want[layer] & WANT_READ && s->reads[row]) {
      float *out = s->projections + ((size_t)layer * s->max_rows + row) * s->directions;
      const float *v = s->read_vectors + (size_t)layer * s->directions * s->hidden;
      for (int32_t k = 0; k < s->directions; k++) out[k] = dot(h, v + (size_t)k * s->hidden, s->hidden);
    }
    if (s->want[layer] & WANT_SUM && s->sum[row] >= 0) {
      double *sum = s->sums + ((size_t)s->sum[row] * s->layers + layer) * s->hidden;
      for (int32_t i = 0; i < s->hidden; i++) sum[i] += h[i];
    }
    if (s->want[layer] & WANT_ACT && act(s, layer, row, h)) {
      if (low < 0) low = r;
      high = r;
    }
  }
  if (low >= 0) {
    const size_t width = (size_t)s->hidden * sizeof(float);
    s->tensor_set(tensor, s->buffer + (size_t)low * s->hidden, (size_t)low * width, (size_t)(high - low + 1) * width);
  }
  return 1;
}
