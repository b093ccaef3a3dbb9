"""This course: content only. `course.toml`, and one check file per exercise."""
