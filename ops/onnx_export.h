/* onnx_export.h: a version as files for onnxruntime (docs/export.md):
 *
 *   rows.bin          every table's rows, one of ids that are not there, one of zeros
 *   ids.safetensors   per table its ids, ascending: the place of an id is its row
 *   inputs.json       what each input of the graph takes
 *   model.onnx        the graph and the dense weights; refers to rows.bin beside it
 *
 * model.onnx comes last: where it is, all is whole. */
#ifndef UNDINE_OPS_ONNX_EXPORT_H
#define UNDINE_OPS_ONNX_EXPORT_H

#include "learner/model/version_chain.h"
#include "ops/onnx_model.h"

struct onnx_export {
    uint64_t rows[SCHEMA_TABLES_MAX]; /* of ids */
    uint64_t bytes;                   /* of all files */
};

/* A full version or a chain into the new directory `output`.  UNDINE_EINVAL where that exists or
 * the graph cannot be had, UNDINE_ECORRUPT as version_model_open, UNDINE_EIO, UNDINE_ENOMEM;
 * nothing is left behind then. */
int onnx_export(struct onnx_export *out, const struct version_chain *version, enum onnx_unit unit,
                const char *output, struct undine_err *err);

#endif
