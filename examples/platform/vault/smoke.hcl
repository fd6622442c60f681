path "secret/data/platform/smoke" { capabilities = ["read"] }
