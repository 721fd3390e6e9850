"""Pictures that any browser shows without a script and without a network: SVG and HTML as text, from plain numbers."""
