path "secret/data/platform/reader" { capabilities = ["read"] }
path "secret/data/platform/smoke" { capabilities = ["read"] }
path "secret/data/platform/directory" { capabilities = ["read"] }
