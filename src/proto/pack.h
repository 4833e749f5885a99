// pack.h: protobuf messages in files: the envelope every manifest has, digests, look-ups. Local; thread-safe.
//
// A manifest file is 8 bytes of magic ("THAWPB1\n"), the XXH3-64 of what follows as 8 little-endian bytes,
// then the message. A dataset, model or tables version is identified by its manifest's digest: the XXH3-64 of
// the serialized message without its run and, of a model, the dataset's path. Two runs that made the same
// files have the same digest, whatever machine, folders, ranks and threads they used.
#ifndef THAW_PROTO_PACK_H
#define THAW_PROTO_PACK_H

#include "base/err.h"
#include "base/file.h"
#include "proto/thaw.pb-c.h"

// Write a message durably to dir/name. THAW_EIO, THAW_EMEM.
int thaw_pack_write(const char *dir, const char *name, const ProtobufCMessage *message, struct thaw_err *err);

// Read and verify dir/name as a message of `type` (&thaw__dataset__descriptor, ...). *message is owned: free
// it with protobuf_c_message_free_unpacked(message, NULL). THAW_ENOINPUT when absent, THAW_EDATA when damaged
// (names the file).
int thaw_pack_read(const char *dir, const char *name, const ProtobufCMessageDescriptor *type,
                   ProtobufCMessage **message, struct thaw_err *err);

// XXH3-64 of the serialized message with its `run` field (if its type has one) left out. THAW_EMEM.
int thaw_pack_digest(const ProtobufCMessage *message, uint64_t *digest, struct thaw_err *err);

// Look up a file's entry by name in a manifest's list; NULL when absent. The view *info borrows from the
// message.
const Thaw__File *thaw_pack_find(Thaw__File *const *files, size_t nfiles, const char *name,
                                 struct thaw_file_info *info);

// A name that is safe to join to a folder: not empty, no '/', not "." or "..", no control bytes. THAW_EDATA
// naming the manifest it stands in.
int thaw_pack_check_name(const char *name, const char *manifest, struct thaw_err *err);

// What people call a model: "implicit (Rendle et al. 2022)". Never NULL.
const char *thaw_pack_model_name(const Thaw__Als *als);

// The word of 'thaw associate --method'. Never NULL.
const char *thaw_pack_method_name(Thaw__Association__Method method);

#endif
