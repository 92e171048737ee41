#include "ingest/json_shim.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace ondemand = simdjson::ondemand;

struct json_shim {
    ondemand::parser parser;
    const json_list *lists;
    uint8_t *buffer; /* the message and SIMDJSON_PADDING zeros behind it */
    size_t bytes_max;
    json_node *nodes;
    uint32_t n_nodes, nodes_max;
    uint32_t expected; /* where in its list the last name was found: members come in one order */
};

namespace
{

bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p)) {
        p++;
    }
    return p;
}

/* Does an integer of n digits without leading zeros fit: up to 2^63 below zero, 2^64 - 1 above? */
bool fits_64(const char *digits, size_t n, bool negative)
{
    const char *limit = negative ? "9223372036854775808" : "18446744073709551615";
    size_t len = strlen(limit);
    return n < len || (n == len && memcmp(digits, limit, n) <= 0);
}

/* number = [ "-" ] int [ "." digits ] [ "e" [ sign ] digits ]  (RFC 8259, section 6) */
json_status scan_number(json_node *node, const char *p, const char *end)
{
    const char *start = p;
    bool negative = *p == '-';
    p += negative;
    const char *digits = p;
    p = skip_digits(p, end);
    size_t n = static_cast<size_t>(p - digits);
    if (n == 0 || (n > 1 && *digits == '0')) {
        return JSON_SYNTAX;
    }
    bool real = p < end;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p, end);
        if (p == fraction) {
            return JSON_SYNTAX;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        const char *exponent = p;
        p = skip_digits(p, end);
        if (p == exponent) {
            return JSON_SYNTAX;
        }
    }
    if (p != end) {
        return JSON_SYNTAX;
    }
    bool minus_zero = negative && n == 1 && *digits == '0';
    node->text = minus_zero ? digits : start;
    node->len = static_cast<uint32_t>(end - node->text);
    node->type = real ? JSON_REAL : fits_64(digits, n, negative) ? JSON_INT : JSON_BIG;
    return JSON_OK;
}

json_status scan_word(json_node *node, const char *p, const char *end, const char *word,
                      json_type type)
{
    size_t len = strlen(word);
    node->type = type;
    return static_cast<size_t>(end - p) == len && memcmp(p, word, len) == 0 ? JSON_OK : JSON_SYNTAX;
}

/* A string stays where it is in the message, unless it has escapes. */
json_status scan_string(json_node *node, ondemand::value &value, const char *p, const char *end)
{
    node->type = JSON_STRING;
    if (end - p < 2 || end[-1] != '"') {
        return JSON_SYNTAX;
    }
    node->text = p + 1;
    node->len = static_cast<uint32_t>(end - p - 2);
    if (memchr(node->text, '\\', node->len) != nullptr) {
        std::string_view text;
        if (value.get_string().get(text) != simdjson::SUCCESS) {
            return JSON_SYNTAX;
        }
        node->text = text.data();
        node->len = static_cast<uint32_t>(text.size());
    }
    return JSON_OK;
}

/* The token reaches to the next structural character, which must be one that may follow a scalar:
 * On-Demand itself would take {"a":"b":1} for a member, since it sees no more than it is asked for.
 */
json_status scan_scalar(json_node *node, ondemand::value &value)
{
    std::string_view token = value.raw_json_token();
    if (token.empty()) {
        return JSON_SYNTAX;
    }
    const char *p = token.data();
    const char *end = p + token.size();
    if (*end != ',' && *end != '}' && *end != ']') {
        return JSON_SYNTAX;
    }
    while (end > p && is_space(end[-1])) {
        end--;
    }
    if (end == p) {
        return JSON_SYNTAX;
    }
    switch (*p) {
    case '"':
        return scan_string(node, value, p, end);
    case 't':
        return scan_word(node, p, end, "true", JSON_BOOL);
    case 'f':
        return scan_word(node, p, end, "false", JSON_BOOL);
    case 'n':
        return scan_word(node, p, end, "null", JSON_NULL);
    default:
        return scan_number(node, p, end);
    }
}

json_node *add_node(json_shim *s, int32_t name)
{
    if (s->n_nodes == s->nodes_max) {
        uint32_t max = s->nodes_max * 2;
        void *grown = realloc(s->nodes, max * sizeof *s->nodes);
        if (grown == nullptr) {
            return nullptr;
        }
        s->nodes = static_cast<json_node *>(grown);
        s->nodes_max = max;
    }
    json_node *node = &s->nodes[s->n_nodes++];
    *node = json_node{nullptr, 0, s->n_nodes, name, JSON_NULL};
    return node;
}

/* Names are short: two loads that may overlap, instead of a call. */
template <typename word> bool ends_equal(const char *a, const char *b, size_t len)
{
    word first[2], last[2];
    memcpy(&first[0], a, sizeof(word));
    memcpy(&first[1], b, sizeof(word));
    memcpy(&last[0], a + len - sizeof(word), sizeof(word));
    memcpy(&last[1], b + len - sizeof(word), sizeof(word));
    return first[0] == first[1] && last[0] == last[1];
}

bool equal(const char *a, const char *b, size_t len)
{
    if (len > 2 * sizeof(uint64_t) || len < 2) {
        return memcmp(a, b, len) == 0;
    }
    return len >= sizeof(uint64_t)   ? ends_equal<uint64_t>(a, b, len)
           : len >= sizeof(uint32_t) ? ends_equal<uint32_t>(a, b, len)
                                     : ends_equal<uint16_t>(a, b, len);
}

const json_name *find_name(json_shim *s, const json_list *list, const char *text, size_t len)
{
    for (uint32_t i = 0; i < list->n; i++) {
        uint32_t at = s->expected + 1 + i;
        at = at < list->n ? at : at % list->n;
        const json_name *name = &list->names[at];
        if (name->len == len && equal(name->text, text, len)) {
            s->expected = at;
            return name;
        }
    }
    return nullptr;
}

/* The key of a member; a key with escapes is decoded. */
json_status member_key(ondemand::field &field, std::string_view *key)
{
    const char *start = field.key().raw();
    const char *p = start;
    while (*p != '"' && *p != '\\') {
        p++;
    }
    if (*p == '\\') {
        return field.unescaped_key().get(*key) == simdjson::SUCCESS ? JSON_OK : JSON_SYNTAX;
    }
    *key = std::string_view(start, static_cast<size_t>(p - start));
    return JSON_OK;
}

json_status skip(ondemand::value &value, unsigned depth);

json_status skip_object(ondemand::object &object, unsigned depth)
{
    for (auto member : object) {
        std::string_view key;
        if (member.error() != simdjson::SUCCESS) {
            return JSON_SYNTAX;
        }
        ondemand::field &&field = std::move(member).value_unsafe();
        if (member_key(field, &key) != JSON_OK || skip(field.value(), depth + 1) != JSON_OK) {
            return JSON_SYNTAX;
        }
    }
    return JSON_OK;
}

json_status skip_array(ondemand::array &array, unsigned depth)
{
    for (auto element : array) {
        ondemand::value value;
        if (std::move(element).get(value) != simdjson::SUCCESS ||
            skip(value, depth + 1) != JSON_OK) {
            return JSON_SYNTAX;
        }
    }
    return JSON_OK;
}

/* What kind of value comes: '{', '[', or anything else for a scalar. */
char first_char(ondemand::value &value)
{
    ondemand::json_type type;
    if (value.type().get(type) != simdjson::SUCCESS) {
        return '?';
    }
    return type == ondemand::json_type::object  ? '{'
           : type == ondemand::json_type::array ? '['
                                                : '"';
}

/* Check a value that nobody asked for, to its end. */
json_status skip(ondemand::value &value, unsigned depth)
{
    json_node ignored;
    ondemand::object object;
    ondemand::array array;
    char first = first_char(value);
    if (first == '"') {
        return scan_scalar(&ignored, value);
    }
    if (depth > JSON_DEPTH_MAX) {
        return JSON_SYNTAX;
    }
    switch (first) {
    case '{':
        return value.get_object().get(object) == simdjson::SUCCESS ? skip_object(object, depth)
                                                                   : JSON_SYNTAX;
    case '[':
        return value.get_array().get(array) == simdjson::SUCCESS ? skip_array(array, depth)
                                                                 : JSON_SYNTAX;
    default:
        return JSON_SYNTAX;
    }
}

json_status add_value(json_shim *s, ondemand::value &value, int32_t name, const json_list *members,
                      unsigned depth);

json_status add_members(json_shim *s, ondemand::object &object, const json_list *members,
                        unsigned depth)
{
    s->expected = UINT32_MAX;
    for (auto member : object) {
        std::string_view key;
        if (member.error() != simdjson::SUCCESS) {
            return JSON_SYNTAX;
        }
        ondemand::field &&field = std::move(member).value_unsafe();
        if (member_key(field, &key) != JSON_OK) {
            return JSON_SYNTAX;
        }
        const json_name *name = find_name(s, members, key.data(), key.size());
        json_status status = JSON_OK;
        if (name == nullptr) {
            status = skip(field.value(), depth + 1);
        } else {
            uint32_t at = s->expected;
            status = add_value(s, field.value(), name->value,
                               name->members < 0 ? nullptr : &s->lists[name->members], depth + 1);
            s->expected = at;
        }
        if (status != JSON_OK) {
            return status;
        }
    }
    return JSON_OK;
}

json_status add_element(json_shim *s, ondemand::value &value, unsigned depth)
{
    json_node *node = add_node(s, -1);
    if (node == nullptr) {
        return JSON_MEMORY;
    }
    char first = first_char(value);
    if (first == '"') {
        return scan_scalar(node, value);
    }
    node->type = first == '{' ? JSON_OBJECT : JSON_ARRAY;
    return skip(value, depth);
}

json_status add_elements(json_shim *s, ondemand::array &array, unsigned depth)
{
    for (auto element : array) {
        ondemand::value value;
        if (std::move(element).get(value) != simdjson::SUCCESS) {
            return JSON_SYNTAX;
        }
        json_status status = add_element(s, value, depth + 1);
        if (status != JSON_OK) {
            return status;
        }
    }
    return JSON_OK;
}

/* One member that was asked for, with its children. */
json_status add_value(json_shim *s, ondemand::value &value, int32_t name, const json_list *members,
                      unsigned depth)
{
    uint32_t index = s->n_nodes;
    json_node *node = add_node(s, name);
    ondemand::object object;
    ondemand::array array;
    json_status status = JSON_SYNTAX;
    if (node == nullptr) {
        return JSON_MEMORY;
    }
    switch (first_char(value)) {
    case '{':
        node->type = JSON_OBJECT;
        if (value.get_object().get(object) == simdjson::SUCCESS) {
            status = members != nullptr ? add_members(s, object, members, depth)
                                        : skip_object(object, depth);
        }
        break;
    case '[':
        node->type = JSON_ARRAY;
        if (value.get_array().get(array) == simdjson::SUCCESS) {
            status = add_elements(s, array, depth);
        }
        break;
    case '"':
        status = scan_scalar(node, value);
        break;
    default:
        break;
    }
    s->nodes[index].end = s->n_nodes;
    return status;
}

json_status parse_document(json_shim *s, size_t len)
{
    ondemand::document document;
    simdjson::padded_string_view view(reinterpret_cast<const char *>(s->buffer), len,
                                      len + simdjson::SIMDJSON_PADDING);
    simdjson::error_code error = s->parser.iterate(view).get(document);
    if (error != simdjson::SUCCESS) {
        return error == simdjson::UTF8_ERROR ? JSON_UTF8
               : error == simdjson::MEMALLOC ? JSON_MEMORY
                                             : JSON_SYNTAX;
    }
    ondemand::object object;
    if (document.get_object().get(object) != simdjson::SUCCESS) {
        return JSON_SYNTAX;
    }
    json_status status = add_members(s, object, &s->lists[0], 1);
    /* current_location is an error at the end, and only there. */
    if (status == JSON_OK && document.current_location().error() == simdjson::SUCCESS) {
        return JSON_SYNTAX;
    }
    return status;
}

} // namespace

struct json_shim *json_shim_open(const struct json_list *lists, size_t bytes_max)
{
    json_shim *s = new (std::nothrow) json_shim;
    if (s == nullptr) {
        return nullptr;
    }
    s->lists = lists;
    s->bytes_max = bytes_max;
    s->nodes_max = 64;
    s->nodes = static_cast<json_node *>(malloc(s->nodes_max * sizeof *s->nodes));
    s->buffer = static_cast<uint8_t *>(calloc(1, bytes_max + simdjson::SIMDJSON_PADDING));
    if (s->nodes == nullptr || s->buffer == nullptr ||
        s->parser.allocate(bytes_max) != simdjson::SUCCESS) {
        json_shim_close(s);
        return nullptr;
    }
    return s;
}

void json_shim_close(struct json_shim *s)
{
    if (s != nullptr) {
        free(s->nodes);
        free(s->buffer);
        delete s;
    }
}

enum json_status json_shim_parse(struct json_shim *s, const uint8_t *data, size_t len,
                                 const struct json_node **nodes, uint32_t *n_nodes)
{
    s->n_nodes = 0;
    if (len == 0 || len > s->bytes_max) {
        return JSON_SYNTAX;
    }
    memcpy(s->buffer, data, len);
    memset(s->buffer + len, 0, simdjson::SIMDJSON_PADDING);
    json_status status = parse_document(s, len);
    *nodes = s->nodes;
    *n_nodes = s->n_nodes;
    return status;
}
