"""The studio's server: pages and a JSON API over one store; never imports torch."""
