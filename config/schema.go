package config

// Schema is a JSON Schema (2020-12) of the file, for editors.
func Schema() []byte { return nil } // to come
