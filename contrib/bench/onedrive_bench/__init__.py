"""Side-by-side measurements of OneDrive mounts; see run.sh beside this folder."""
