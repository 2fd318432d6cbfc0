"""Programs: each is a `Config` (frozen dataclass) and `main(config)`. Nobody imports them."""
