//! The keywords of schemas.

/// Keywords that ask nothing.
pub(super) const ANNOTATIONS: [&str; 28] = [
    "title",
    "description",
    "$schema",
    "$id",
    "id",
    "$comment",
    "examples",
    "example",
    "default",
    "nullable",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$anchor",
    "$vocabulary",
    "$dynamicAnchor",
    "discriminator",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "externalDocs",
    "xml",
    "strict",
    "enumNames",
    "enumDescriptions",
    "propertyOrdering",
    "markdownDescription",
    "errorMessage",
];
pub(super) const DEFINITIONS: [&str; 3] = ["$def", "$defs", "definitions"];
pub(super) const TYPES: [&str; 7] = ["object", "string", "number", "integer", "boolean", "array", "null"];
/// Keywords by the type that they speak about.
pub(super) const OF_OBJECTS: [&str; 9] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "unevaluatedProperties",
    "dependentRequired",
];
pub(super) const OF_STRINGS: [&str; 4] = ["pattern", "format", "minLength", "maxLength"];
pub(super) const OF_NUMBERS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
pub(super) const OF_ARRAYS: [&str; 8] =
    ["items", "minItems", "maxItems", "prefixItems", "additionalItems", "uniqueItems", "unevaluatedItems", "contains"];
pub(super) const COMBINED: [&str; 6] = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"];
/// What DeepSeek documents.
pub(super) const DEEPSEEKS: [&str; 15] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "items",
    "$ref",
    "anyOf",
    "enum",
];
