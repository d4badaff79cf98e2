// What a page has and Node has not, for packages that are made for pages.
globalThis.window = globalThis
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} }
