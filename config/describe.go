package config

// describe says what a key is for.
func describe(key string) string { return descriptions[key] }

var descriptions = map[string]string{}
