#include "ops/json_tape.h"

#include <cstdlib>
#include <new>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace dom = simdjson::dom;

static_assert(JSON_TAPE_PADDING >= simdjson::SIMDJSON_PADDING, "what simdjson reads behind a text");

struct json_tape {
    dom::parser parser;
    json_tape_node *nodes;
    uint32_t n_nodes, nodes_max;
};

namespace
{

json_tape_node *add_node(json_tape *t, const char *key, size_t key_len)
{
    if (t->n_nodes == t->nodes_max) {
        uint32_t max = t->nodes_max == 0 ? 256 : t->nodes_max * 2;
        void *grown = realloc(t->nodes, max * sizeof *t->nodes);
        if (grown == nullptr) {
            return nullptr;
        }
        t->nodes = static_cast<json_tape_node *>(grown);
        t->nodes_max = max;
    }
    json_tape_node *node = &t->nodes[t->n_nodes++];
    *node =
        json_tape_node{key, nullptr, 0, static_cast<uint32_t>(key_len), 0, t->n_nodes, TAPE_NULL};
    return node;
}

int64_t whole(double v)
{
    bool fits = v > -9007199254740992.0 && v < 9007199254740992.0;
    return fits && static_cast<double>(static_cast<int64_t>(v)) == v ? static_cast<int64_t>(v)
                                                                     : INT64_MIN;
}

void set_scalar(json_tape_node *node, const dom::element &value)
{
    std::string_view text;
    switch (value.type()) {
    case dom::element_type::INT64:
        node->type = TAPE_INT;
        node->integer = value.get_int64().value_unsafe();
        break;
    case dom::element_type::UINT64:
        node->type = TAPE_UINT;
        node->integer = static_cast<int64_t>(value.get_uint64().value_unsafe());
        break;
    case dom::element_type::DOUBLE:
        node->type = TAPE_REAL;
        node->integer = whole(value.get_double().value_unsafe());
        break;
    case dom::element_type::BOOL:
        node->type = TAPE_BOOL;
        break;
    case dom::element_type::STRING:
        node->type = TAPE_STRING;
        text = value.get_string().value_unsafe();
        node->text = text.data();
        node->text_len = static_cast<uint32_t>(text.size());
        break;
    default:
        break;
    }
}

/* The parser has bounded the depth.  false = memory is out. */
bool add_value(json_tape *t, const dom::element &value, const char *key, size_t key_len)
{
    uint32_t index = t->n_nodes;
    json_tape_node *node = add_node(t, key, key_len);
    if (node == nullptr) {
        return false;
    }
    dom::array array;
    dom::object object;
    if (value.get(array) == simdjson::SUCCESS) {
        node->type = TAPE_ARRAY;
        for (dom::element element : array) {
            if (!add_value(t, element, nullptr, 0)) {
                return false;
            }
        }
    } else if (value.get(object) == simdjson::SUCCESS) {
        node->type = TAPE_OBJECT;
        for (dom::key_value_pair member : object) {
            if (!add_value(t, member.value, member.key.data(), member.key.size())) {
                return false;
            }
        }
    } else {
        set_scalar(node, value);
    }
    t->nodes[index].end = t->n_nodes;
    return true;
}

} // namespace

struct json_tape *json_tape_open(void)
{
    json_tape *t = new (std::nothrow) json_tape;
    if (t != nullptr) {
        t->nodes = nullptr;
        t->n_nodes = t->nodes_max = 0;
    }
    return t;
}

void json_tape_close(struct json_tape *t)
{
    if (t != nullptr) {
        free(t->nodes);
        delete t;
    }
}

const char *json_tape_parse(struct json_tape *t, const char *text, size_t len,
                            const struct json_tape_node **nodes, bool *memory)
{
    t->n_nodes = 0;
    *memory = false;
    simdjson::error_code error = simdjson::SUCCESS;
    if (len > t->parser.capacity()) {
        error = t->parser.allocate(len, JSON_TAPE_DEPTH_MAX);
    }
    dom::element root;
    if (error == simdjson::SUCCESS) {
        error = t->parser.parse(text, len, false).get(root);
    }
    if (error != simdjson::SUCCESS) {
        *memory = error == simdjson::MEMALLOC;
        return simdjson::error_message(error);
    }
    if (!add_value(t, root, nullptr, 0)) {
        *memory = true;
        return "no memory";
    }
    *nodes = t->nodes;
    return nullptr;
}
