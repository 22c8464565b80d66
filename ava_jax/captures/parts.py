"""What the class numbers of `segmentation_parts` mean."""

PARTS = (
    "background",
    "hair",
    "body",
    "chair",
    "apparel",
    "lenses",
    "upper lip",
    "lower lip",
    "upper teeth",
    "lower teeth",
    "tongue",
)  # by number
NOT_PERSON = (0, 3)  # background, chair
