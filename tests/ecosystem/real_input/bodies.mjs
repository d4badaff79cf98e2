// Bodies that break naive streams: line ends of every kind, bytes that are no
// text, text that looks like SSE, JSON that a parser would not give back as it
// was.

const lines = [
  '', '\n', '\r', '\r\n', '\n\n', '\r\r', '\r\n\r\n', '\n\r', 'a\nb', 'a\rb', 'a\r\nb',
  'a\r\n', 'a\r', 'a\n', '\ra', 'a\n\n\nb', 'a\r\r\nb', ' a', '  a', '\ta', 'a ', ':', ': a',
  'data: x\n\nid: 99\nevent: hookrill.gap\ndata: y\n\n', 'retry: 1\rid\r\revent: x', 'id: 1\0',
  '\0', 'a\0b', '\0\r\0\n\0', '\u0001\u0007\u001b[31m\u007f', 'a\u000bb\u000cc\u001cd\u0085e\u2028f\u2029g',
  '\ufeff', '\ufeffa\n\ufeffb', 'é', '𝄞\n𝄞', '\ufffd', '\u200b', '\ufffe\uffff',
].map((text) => Buffer.from(text))

const bytes = [
  [0xff], [0xfe, 0xff], [0xc3], [0xc3, 0x28], [0xe2, 0x82], [0xe2, 0x82, 0x0a, 0xac], [0xed, 0xa0, 0x80],
  [0xc0, 0x80], [0xf0, 0x9f, 0x98], [0xf4, 0x90, 0x80, 0x80], [0x61, 0x0d, 0xff, 0x0a, 0x00], [0x1f, 0x8b, 0x08, 0x00],
  Array.from({ length: 256 }, (_, i) => i), Array.from({ length: 256 }, (_, i) => 255 - i),
].map((list) => Buffer.from(list))

const json = [
  '{}', '[]', 'null', '0', '""', ' {} ', '{ "a" : 1 }', '\n{\n  "a": [\n    1.0,\n    2\n  ]\n}\n', '{\r\n "a": 1\r\n}\r\n',
  '{\r"a":1}', '{"a":1,"a":2}', '{"n":1.0,"m":1e2,"x":1E+400,"y":-0,"z":12345678901234567890123}',
  '{"u":"\\u00e9é\\u0000\\ud800\\/"}', '{"data":{"data":"x"},"data_base64":"eA=="}', '"a\\r\\nb"',
  '{"t":"\u2028\u2029\u0085"}', '"\u007f"', '{"deep":' + '['.repeat(100) + ']'.repeat(100) + '}',
].map((text) => Buffer.from(text))

const noJson = ['{', '', 'NaN', '{"a":1}{}', "{'a':1}", '\ufeff{}', '{"a":\u0001}', '{}\0'].map((text) => Buffer.from(text))

const large = [
  Buffer.alloc(1 << 20, 'x'), Buffer.alloc(1 << 18, '\r\n'), Buffer.alloc(1 << 18, 0xff),
  Buffer.from(JSON.stringify({ long: 'é\n'.repeat(1 << 17) })),
]

const typed = (type, bodies) => bodies.map((body) => ({ contentType: type, body }))

export const hostile = [
  ...typed('text/plain', [...lines, ...bytes]),
  ...typed('text/plain; charset=utf-8', json),
  ...typed('application/json', [...json, ...noJson, ...bytes.slice(0, 4)]),
  ...typed('application/vnd.api+json; charset=utf-8', [...json, ...noJson]),
  ...typed('application/octet-stream', [...lines.slice(0, 12), ...bytes]),
  ...typed('application/x-www-form-urlencoded', [Buffer.from('a=1&b=%0D%0A+c')]),
  ...typed(undefined, [...lines.slice(0, 12), ...bytes.slice(0, 4), ...json.slice(0, 8)]),
  ...typed('text/plain', large.slice(0, 3)),
  ...typed('application/json', large.slice(3)),
]
