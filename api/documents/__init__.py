"""The service described for people and programs: an OpenAPI document, and the page that shows it."""
